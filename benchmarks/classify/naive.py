"""A rebuild of the naive script: a thread pool, Pillow, and a loop over pixels in Python.

With `--sleeps` the work is the seed's latencies instead (10 ms rotate and resize, 10 ms magic
number in Python, 30 ms answer, 10 ms statistics), which measures the seed's first question: what
happens when threads are added. The rotation sleeps (Pillow gives the interpreter lock away), the
magic number burns its time in Python (which keeps the lock).
"""

from __future__ import annotations

import argparse
import io
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import requests
from PIL import Image


def calc_magic_number(pixels: np.ndarray) -> np.ndarray:
    """The sample's loop; with integers that do not overflow."""
    result = 0
    for x in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            result += (x + 1) * (y + 1) * pixels[x, y].astype(np.int64)
    return result / (pixels.shape[0] * pixels.shape[1])


def vectorised(pixels: np.ndarray) -> np.ndarray:
    """The same number as a bilinear form: rows x pixels x columns."""
    rows, columns = np.arange(1, pixels.shape[0] + 1), np.arange(1, pixels.shape[1] + 1)
    totals = np.einsum("x,xyc,y->c", rows, pixels.astype(np.int64), columns, optimize=True)
    return totals / (pixels.shape[0] * pixels.shape[1])


def process_image(path: Path, url: str, *, vectorise: bool = False) -> tuple[float, str, int]:
    """One picture, mended only as far as it must be to run at all."""
    image = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    image = image.resize((image.width // 2, image.height // 2))
    magic = (vectorised if vectorise else calc_magic_number)(np.array(image))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG")
    started = time.perf_counter()
    answer = requests.post(
        f"{url}/api/classify", params={"magic": magic.tolist()}, data=buffer.getvalue(), timeout=60
    ).json()
    return time.perf_counter() - started, answer["class"], len(buffer.getvalue())


def burn(seconds: float) -> None:
    """Run Python for so long in this thread: the cost of a Python loop under the lock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def process_sleeping(_path: Path, *, python_loop: bool) -> tuple[float, str, int]:
    """The seed's latencies; the magic number holds the lock (as written) or not (numpy)."""
    time.sleep(0.010)
    if python_loop:
        burn(0.010)
    else:
        time.sleep(0.010)
    time.sleep(0.030)
    return 0.030, "cat", 1


def main() -> None:
    """Measure pictures per second and CPU per picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--threads-num", type=int, default=2)
    parser.add_argument("--vectorise", action="store_true", help="no loop for the magic number")
    parser.add_argument(
        "--sleeps",
        choices=["python", "numpy"],
        help="the seed's latencies, with either magic number",
    )
    parser.add_argument(
        "--no-stats",
        action="store_true",
        help="with --sleeps: without the 10 ms in the main thread",
    )
    options = parser.parse_args()
    paths = sorted(options.folder.iterdir())

    def work(path: Path) -> tuple[float, str, int]:
        if options.sleeps:
            return process_sleeping(path, python_loop=options.sleeps == "python")
        return process_image(path, options.url, vectorise=options.vectorise)

    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPool(options.threads_num) as pool:
        for _ in pool.imap_unordered(work, paths):
            if options.sleeps and not options.no_stats:
                time.sleep(0.010)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{len(paths) / wall:.1f} pictures/s, {cpu / len(paths) * 1000:.2f} CPU ms per picture")


if __name__ == "__main__":
    main()
