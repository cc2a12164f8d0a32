"""Time until a run over ten million pictures goes on after a kill.

Measured in an unchanged and in a changed directory. The journal is real; the pictures that are
done no longer exist, which the run does not notice.

    python resume.py --count 10_000_000
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from atelier.classify.journal import Checkpoint, Files, Reached, Subject
from atelier.classify.lines import Lines
from atelier.classify.outcomes import Answer, Entry, Result, Transformed, result
from atelier.classify.stats import Totals
from atelier.classify.walklog import WalkWriter

HERE = Path(__file__).parent
PHOTO = HERE.parents[1] / "tests" / "photos" / "waterfall_640x480.jpg"
BEHIND = 10_000
"""Lines behind the last checkpoint: two seconds of a fast run."""


def line(n: int) -> Result:
    """A line like a real one."""
    picture = Transformed(
        b"x" * 18_075, (1801220.0423046874, 2126922.2199348956, 2406769.007604167)
    )
    return result(Entry(n, b"IMG_%08d.jpg" % n, n + 1), picture, Answer("house", 0.987, 3845, 1))


def build(folder: Path, count: int) -> None:
    """A journal in which all of `count` pictures are done, the last behind the checkpoint."""
    pictures, files = folder / "pictures", Files(folder / "out.jsonl")
    pictures.mkdir()
    files.folder.mkdir()
    os.utime(pictures, (1_700_000_000, 1_700_000_000))
    writer = WalkWriter(files.walk)
    for n in range(count):
        writer.name(b"", b"IMG_%08d.jpg" % n, fresh=True)
    writer.complete(b"", pictures.stat().st_mtime_ns, fresh=True)
    writer.sync()
    totals = Totals()
    block = b"".join(msgspec.json.encode(line(n)) + b"\n" for n in range(10_000))
    for n in range(10_000):
        totals.result(line(n))
    with files.results.open("wb") as out:
        for _ in range((count - BEHIND) // 10_000):
            out.write(block)
        counted = out.tell()
        for n in range(count - BEHIND, count):
            out.write(msgspec.json.encode(line(n)) + b"\n")
    files.failed.touch()
    subject = Subject(
        os.fsencode(pictures), recursive=False, rotate=True, resize=True, shard=0, shards=1
    )
    state = Checkpoint(
        subject, totals.stored(), Reached(count - BEHIND), Reached(), results=counted
    )
    state.results_print = Lines(files.results).fingerprint(counted)
    files.checkpoint.write_bytes(msgspec.json.encode(state))


def timed(folder: Path, url: str) -> tuple[float, int]:
    """Seconds and peak bytes of one run, its children's not added."""
    command = [sys.executable, "-m", "atelier", "classify", str(folder / "pictures"), url]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--output", str(folder / "out.jsonl")], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def main() -> None:
    """Build, resume, change, resume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000)
    count = parser.parse_args().count
    service = subprocess.Popen(
        [sys.executable, str(HERE / "standin.py")], stdout=subprocess.PIPE, text=True
    )
    assert service.stdout
    url = f"http://127.0.0.1:{service.stdout.readline().strip()}"
    folder = Path(tempfile.mkdtemp())
    try:
        build(folder, count)
        journal = Files(folder / "out.jsonl").folder
        print(
            f"walk log {Files(folder / 'out.jsonl').walk.stat().st_size / count:.1f} bytes a "
            "picture"
        )
        print(f"checkpoint {(journal / 'checkpoint.json').stat().st_size} bytes")
        print("nothing new: {:.2f} s, peak {:.0f} MB".format(*_shown(timed(folder, url))))
        for n in range(10):
            shutil.copy(PHOTO, folder / "pictures" / f"new{n}.jpg")
        print("ten new files: {:.2f} s, peak {:.0f} MB".format(*_shown(timed(folder, url))))
    finally:
        service.terminate()
        shutil.rmtree(folder)


def _shown(figures: tuple[float, int]) -> tuple[float, float]:
    return figures[0], figures[1] / 1e6


if __name__ == "__main__":
    main()
