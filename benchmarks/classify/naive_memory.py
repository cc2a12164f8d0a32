"""Memory of the naive script, by its own structures: bytes a picture, at three moments of a run.

    python naive_memory.py [PICTURES]

The work is left out: a picture is an answer that is parsed, so that strings are made as there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

ANSWER = '{"class": "house", "score": 0.987}'


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def process_image(
    go: threading.Event,
    results: dict[str, Any],
    path: str,
) -> tuple[float, str, float, int]:
    """The script's record of a picture."""
    go.wait()
    elapsed, size = time.perf_counter(), 10_000 + len(results)
    results[path] = {"elapsed": elapsed, **json.loads(ANSWER)}
    return elapsed, results[path]["class"], results[path]["score"], size


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if sys.argv[1:] else 300_000
    start, go = resident(), threading.Event()
    results: dict[str, Any] = {}
    classes: dict[str, int] = {}
    timings, sizes = [], []
    paths = [f"photos/IMG_{number:08}.jpg" for number in range(count)]
    listed = resident()
    with ThreadPool(2) as pool:
        answers = pool.imap_unordered(partial(process_image, go, results), paths)
        tasks = pool._inqueue  # type: ignore[attr-defined]
        while tasks.qsize() < count - 2:
            time.sleep(0.1)
        queued = resident()
        go.set()
        for elapsed, label, _, size in answers:
            classes[label] = classes.get(label, 0) + 1
            timings.append(elapsed)
            sizes.append(size)
        end = resident()
    print(f"{(listed - start) / count:.0f} bytes a picture for the list of paths")
    print(f"{(queued - listed) / count:.0f} for the tasks")
    print(f"{(end - start) / count:.0f} in all at the end")
    print(f"{len(json.dumps(results)) / count:.0f} in output.json")


if __name__ == "__main__":
    main()
