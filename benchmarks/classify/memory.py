"""Memory of the tool's processes together, over directories of 10^3, 10^5 and more pictures.

    python -m benchmarks.classify.memory 1000 100000

Each figure is the peak of the sum over the run's processes: resident (shared pages counted in
each) and proportional.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks.usage import family

HERE = Path(__file__).parent
LINKS = 50_000
"""Names per inode; ext4 allows 65,000."""


def fill(folder: Path, count: int) -> None:
    """A folder of hard links to tiny pictures."""
    folder.mkdir()
    data = bytes(cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1])
    for n in range(count):
        seed = folder.parent / f"seed{n // LINKS}.jpg"
        if n % LINKS == 0:
            seed.write_bytes(data)
        os.link(seed, folder / f"{n:08}.jpg")


def memory(pid: int) -> tuple[int, int]:
    """Resident and proportional bytes of a process and its children. Raises psutil.Error."""
    held = [member.memory_full_info() for member in family(pid)]
    return sum(each.rss for each in held), sum(each.pss for each in held)


def main() -> None:
    """One run per size."""
    service = subprocess.Popen(
        [sys.executable, str(HERE / "standin.py")], stdout=subprocess.PIPE, text=True
    )
    assert service.stdout
    url = f"http://127.0.0.1:{service.stdout.readline().strip()}"
    for count in map(int, sys.argv[1:]):
        folder = Path(tempfile.mkdtemp())
        fill(folder / "many", count)
        command = [sys.executable, "-m", "atelier", "classify", str(folder / "many"), url]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--output", str(folder / "out.jsonl")], stdout=subprocess.DEVNULL
        )
        most = (0, 0)
        while process.poll() is None:
            time.sleep(0.2)
            try:
                now = memory(process.pid)
            except psutil.Error:
                continue  # one of them is ending
            most = max(most[0], now[0]), max(most[1], now[1])
        seconds = time.perf_counter() - started
        lines = sum(1 for _ in (folder / "out.jsonl").open("rb"))
        assert (process.returncode, lines) == (0, count)
        print(
            f"{count}: resident {most[0] // 2**20} MiB, proportional {most[1] // 2**20} MiB, "
            f"{count / seconds:.0f}/s",
            flush=True,
        )
        shutil.rmtree(folder)
    service.terminate()


if __name__ == "__main__":
    main()
