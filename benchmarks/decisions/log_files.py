"""One log file written by several processes: lines lost at its rotation, and the CPU of a line.

    python log_files.py [--peers OTHER_VENV/bin/python] [--rounds 5]

Four processes write 20,000 lines each to one file that is rotated at 256 KiB; all rotated files
are kept, so every line must be in one of them, once and whole, and files that are smaller than
that were rotated too early. WatchedFileHandler rotates nothing: it shows what a line costs.
`--peers` names a Python that has concurrent-log-handler.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

PROCESSES, LINES = 4, 20_000
LIMIT, KEPT = 256 * 1024, 200
MESSAGE = "%s:%d received a picture of 81356 bytes as image/jpeg and stored it, in 17 ms"


def ours(path: Path) -> logging.Handler:
    """Rotation under a lock, by the process that meets the limit."""
    from atelier.observe.logs import FileHandler

    return FileHandler(path, LIMIT, KEPT)


def watched(path: Path) -> logging.Handler:
    """The standard library's, for files that another program rotates."""
    return logging.handlers.WatchedFileHandler(path)


def rotating(path: Path) -> logging.Handler:
    """The standard library's, for one process."""
    return logging.handlers.RotatingFileHandler(path, maxBytes=LIMIT, backupCount=KEPT)


def concurrent(path: Path) -> logging.Handler:
    """A lock around each line."""
    import concurrent_log_handler as library

    return library.ConcurrentRotatingFileHandler(str(path), maxBytes=LIMIT, backupCount=KEPT)


def kept_open(path: Path) -> logging.Handler:
    """The same, with its own option for speed."""
    import concurrent_log_handler as library

    options = {"maxBytes": LIMIT, "backupCount": KEPT, "keep_file_open": True}
    return library.ConcurrentRotatingFileHandler(str(path), **options)


CONTESTANTS = {
    "WatchedFileHandler": watched,
    "ours": ours,
    "RotatingFileHandler": rotating,
    "concurrent-log-handler": concurrent,
    "concurrent-log-handler, kept open": kept_open,
}


def write(name: str, path: Path, number: int) -> None:
    """Log the lines of one process; prints CPU microseconds per line."""
    logger = logging.getLogger("bench")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = CONTESTANTS[name](path)
    handler.setFormatter(logging.Formatter("{asctime} {levelname} {message}", style="{"))
    logger.addHandler(handler)
    logger.info("begin")
    began = time.process_time()
    for line in range(LINES):
        logger.info(MESSAGE, f"p{number}", line)
    print((time.process_time() - began) / LINES * 1e6)


def missing(folder: Path) -> int:
    """Lines that are in no file, or not whole, or there twice."""
    found: Counter[str] = Counter()
    for path in folder.iterdir():
        for line in path.read_text(errors="replace").splitlines():
            words = line.split(" ")
            if len(words) > 3 and line.endswith(" in 17 ms"):
                found[words[3]] += 1
    wanted = (f"p{number}:{line}" for number in range(PROCESSES) for line in range(LINES))
    return sum(found[each] != 1 for each in wanted)


def contest(name: str, python: str) -> tuple[float, ...]:
    """CPU us per line; lines lost; seconds until all have ended; files, and small ones."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, __file__, "--contestant", name, folder]
        began = time.perf_counter()
        writers = [
            subprocess.Popen(
                [*command, str(number)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for number in range(PROCESSES)
        ]
        spent = [float(writer.communicate()[0]) for writer in writers]
        seconds, logs = time.perf_counter() - began, list(Path(folder).glob("bench.log*"))
        small = sum(path.stat().st_size < LIMIT * 0.9 for path in logs) - 1  # the newest may be
        return statistics.mean(spent), missing(Path(folder)), seconds, len(logs), max(0, small)


def main() -> None:
    """Run as one writer, or run all contestants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python that has concurrent-log-handler")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", nargs=3, metavar=("NAME", "FOLDER", "NUMBER"))
    options = parser.parse_args()
    if options.contestant:
        name, folder, number = options.contestant
        write(name, Path(folder) / "bench.log", int(number))
        return
    found: dict[str, list[tuple[float, ...]]] = {}
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            python = options.peers if name.startswith("concurrent") else sys.executable
            if python:
                found.setdefault(name, []).append(contest(name, python))
    print("| handler | CPU us a line | lost of 80,000 | seconds | files | too early |")
    print("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        spent, *others = (statistics.median(values) for values in zip(*rounds, strict=True))
        worst = max(one[1] for one in rounds)
        lost, seconds, files, small = others
        cells = f"{lost:.0f}, at most {worst:.0f} | {seconds:.0f} | {files:.0f} | {small:.0f}"
        print(f"| {name} | {spent:.1f} | {cells} |")


if __name__ == "__main__":
    main()
