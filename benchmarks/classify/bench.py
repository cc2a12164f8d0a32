"""CPU per picture of classify and its peers: the naive script, Pillow pool, img2dataset.

    python bench.py --img2dataset OTHER_VENV/bin/python

Rounds are interleaved and the median is told. The tool's figure is all of it (walk, transform,
requests, journal) but its start, which is told apart: the CPU seconds of a run over eight
pictures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

SOME = 200  # pictures of the naive script without its loop

HERE = Path(__file__).parent
PHOTOS = HERE.parents[1] / "tests" / "photos"
FLOOR = """
import sys, time
from atelier.imaging.transform import transform
data = open(sys.argv[1], 'rb').read()
transform(data)
started = time.process_time()
for _ in range(int(sys.argv[2])): transform(data, rotate=sys.argv[3] == '1')
print((time.process_time() - started) / int(sys.argv[2]) * 1000)
"""
IMG2DATASET = """
import io, sys, time
import cv2
cv2.setNumThreads(1)
from img2dataset.resizer import Resizer
data = open(sys.argv[1], 'rb').read()
size = int(sys.argv[3])
resizer = Resizer(image_size=size, resize_mode='keep_ratio',
                  resize_only_if_bigger=False, encode_quality=80,
                  encode_format='jpg', upscale_interpolation='lanczos',
                  downscale_interpolation='area')
started = time.process_time()
for _ in range(int(sys.argv[2])):
    made = resizer(io.BytesIO(data))
    assert made[0] and made[5] is None, made[5]
print((time.process_time() - started) / int(sys.argv[2]) * 1000)
"""


def picture_a() -> bytes:
    """640x480, a photograph."""
    return (PHOTOS / "waterfall_640x480.jpg").read_bytes()


def picture_b() -> bytes:
    """12 megapixels: photographs tiled, with noise."""
    tile = cv2.imread(str(PHOTOS / "Landscape_1.jpg"))
    tiled = np.tile(tile, (3000 // tile.shape[0] + 1, 4000 // tile.shape[1] + 1, 1))[:3000, :4000]
    noise = np.random.default_rng(1).normal(0, 4, tiled.shape)
    pixels = np.clip(tiled + noise, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def fill(folder: Path, data: bytes, count: int) -> Path:
    """A folder of hard links to one picture."""
    folder.mkdir()
    (folder.parent / f"{folder.name}.jpg").write_bytes(data)
    for number in range(count):
        os.link(folder.parent / f"{folder.name}.jpg", folder / f"{number}.jpg")
    return folder


def cpu_of(*command: str) -> float:
    """CPU seconds of a command and all its children."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime


def said(*command: str) -> float:
    """The number that a command prints."""
    return float(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def peer(script: str, folder: Path, url: str, *options: str) -> float:
    """CPU ms per picture that a peer's script prints."""
    command = [sys.executable, str(HERE / script), str(folder), url, *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(text.split("pictures/s, ")[1].split()[0])


def main() -> None:
    """Run all, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--img2dataset", help="a Python that has img2dataset; it is not among the dependencies"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of pictures")
    options = parser.parse_args()
    service = subprocess.Popen(
        [sys.executable, str(HERE / "standin.py")], stdout=subprocess.PIPE, text=True
    )
    assert service.stdout
    url = f"http://127.0.0.1:{service.stdout.readline().strip()}"
    folder = Path(tempfile.mkdtemp())
    try:
        for name, data, count, side, naive in (
            ("A", picture_a(), 3000, 240, 6),
            ("B", picture_b(), 120, 1500, 0),
        ):
            many = fill(folder / name, data, max(8, int(count * options.scale)))
            few = fill(folder / f"{name}few", data, naive) if naive else None
            eight = fill(folder / f"{name}eight", data, 8)
            some = fill(folder / f"{name}some", data, SOME) if naive else None
            report(name, measure(many, eight, few, some, url, side, options))
    finally:
        service.terminate()
        shutil.rmtree(folder)


def measure(
    many: Path,
    eight: Path,
    few: Path | None,
    some: Path | None,
    url: str,
    side: int,
    options: argparse.Namespace,
) -> dict[str, list[float]]:
    """All contestants, interleaved."""
    seed, count = str(many) + ".jpg", len(list(many.iterdir()))
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        floor = (sys.executable, "-c", FLOOR, seed, str(max(8, count // 10)))
        found.setdefault("the transform alone", []).append(said(*floor, "1"))
        found.setdefault("the transform alone, no rotation", []).append(said(*floor, "0"))
        output = many.parent / "out.jsonl"
        rest = (url, "--restart", "--output", str(output))
        start = cpu_of(sys.executable, "-m", "atelier", "classify", str(eight), *rest)
        whole = cpu_of(sys.executable, "-m", "atelier", "classify", str(many), *rest)
        found.setdefault("atelier classify, start (ms in all)", []).append(start * 1000)
        found.setdefault("atelier classify", []).append((whole - start) / (count - 8) * 1000)
        found.setdefault("Pillow in processes", []).append(peer("pillow_processes.py", many, url))
        if few and some:
            found.setdefault("naive script", []).append(peer("naive.py", few, url))
            vectorised = peer("naive.py", some, url, "--vectorise")
            found.setdefault("naive script, magic number vectorised", []).append(vectorised)
        if options.img2dataset:
            theirs = (
                options.img2dataset,
                "-c",
                IMG2DATASET,
                seed,
                str(max(8, count // 10)),
                str(side),
            )
            found.setdefault("img2dataset's resizer (no rotation, no magic)", []).append(
                said(*theirs)
            )
    return found


def report(name: str, found: dict[str, list[float]]) -> None:
    """One line per contestant."""
    for contestant, values in found.items():
        print(
            f"{name}  {contestant:48} {statistics.median(values):8.2f} CPU ms per picture",
            flush=True,
        )


if __name__ == "__main__":
    main()
