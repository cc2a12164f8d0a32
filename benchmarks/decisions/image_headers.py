"""Telling an image's format, size, orientation and metadata: our parsers beside libraries.

    python image_headers.py [--peers OTHER_VENV/bin/python] [--rounds 5] [--mutations 3000]

Prints the CPU time of a probe, the weight of an import, what damaged files raise, and the cost
of hostile ones. `--peers` names a Python that has imagesize, exifread and Pillow, which are not
all among the dependencies. Each contestant is a process that runs while the others wait.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Probe = Callable[[bytes], tuple[int, int] | None]

PHOTOS = Path(__file__).parents[2] / "tests" / "photos"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
CONTESTANTS = ("ours", "Pillow", "imagesize + exifread")
SECONDS = 0.3  # of one measurement
EXIF_DIRECTORY, GPS_DIRECTORY, ORIENTATION = 34665, 34853, 274


def ours() -> Probe:
    """`probe`: format, upright size, orientation, frames, metadata and limits."""
    from atelier.errors import AtelierError
    from atelier.imaging.identify.probe import probe

    def ask(data: bytes) -> tuple[int, int] | None:
        try:
            found = probe(data)
        except AtelierError:
            return None
        return found.width, found.height

    return ask


def pillow() -> Probe:
    """The same by Pillow: opens without decoding, with the same formats allowed."""
    from PIL import Image

    warnings.simplefilter("ignore")

    def ask(data: bytes) -> tuple[int, int] | None:
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except (Image.UnidentifiedImageError, Image.DecompressionBombError):
            return None
        # Asked for the EXIF of a PNG that has none before its pixels, it decodes them all.
        behind = image.format == "PNG" and "exif" not in image.info
        exif = Image.Exif() if behind else image.getexif()
        sideways = exif.get(ORIENTATION, 1) in (5, 6, 7, 8)
        dict(exif), exif.get_ifd(EXIF_DIRECTORY), exif.get_ifd(GPS_DIRECTORY)
        getattr(image, "n_frames", 1), image.info.get("icc_profile")
        return (image.height, image.width) if sideways else image.size

    return ask


def small_libraries() -> Probe:
    """Two libraries that know no pixels: they give no frames, no mode and no profile."""
    import exifread
    import imagesize

    def ask(data: bytes) -> tuple[int, int] | None:
        width, height = imagesize.get(io.BytesIO(data))
        tags = exifread.process_file(io.BytesIO(data), details=False)
        turn = tags.get("Image Orientation")
        if turn and turn.values[0] in (5, 6, 7, 8):
            width, height = height, width
        return (width, height) if width > 0 else None

    return ask


MAKERS = {"ours": ours, "Pillow": pillow, "imagesize + exifread": small_libraries}


def samples() -> dict[str, bytes]:
    """Ordinary pictures of each format."""
    from PIL import Image

    found = {"JPEG, 640x480": (PHOTOS / "waterfall_640x480.jpg").read_bytes()}
    found["JPEG with EXIF, turned"] = (PHOTOS / "Landscape_6.jpg").read_bytes()
    with Image.open(io.BytesIO(found["JPEG, 640x480"])) as photo:
        for kind in FORMATS[1:]:
            photo.save(made := io.BytesIO(), kind)
            found[kind] = made.getvalue()
        frames = [photo.rotate(turn).quantize(16) for turn in range(0, 360, 12)]
    frames[0].save(made := io.BytesIO(), "GIF", save_all=True, append_images=frames[1:])
    found["GIF, 30 frames"] = made.getvalue()
    return found


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + check


def hostile() -> dict[str, bytes]:
    """Small files that ask for much."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0))
    bomb = zlib.compress(bytes(256 << 20), 9)
    texts = b"".join(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))) for _ in range(60))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 1) for tag in range(65_000))
    tiff = b"II*\0" + struct.pack("<IH", 8, 65_000) + entries + bytes(4)
    sides = struct.pack("<HHHIIHHII", 2, 256, 4, 1, 9, 257, 4, 1, 9)
    pages = b"".join(sides + struct.pack("<I", 8 + 30 * n) for n in range(1, 60_000))
    gif = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 9, 9, 0) + b"\x02\x01\0\0"
    return {
        "PNG, profile that inflates to 256 MiB": head + chunk(b"iCCP", b"a\0\0" + bomb),
        "PNG, 60 texts that inflate to 1 MB": head + texts + chunk(b"IEND", b""),
        "TIFF, 65,000 tags": tiff,
        "TIFF, 60,000 pages": b"II*\0" + struct.pack("<I", 8) + pages,
        "GIF, 60,000 frames": gif + frame * 60_000 + b";",
    }


def micros(ask: Probe, data: bytes) -> float:
    """CPU microseconds of a probe."""
    ask(data)
    began, runs = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        ask(data)
        runs += 1
    return (time.process_time() - began) / runs * 1e6


def resident() -> float:
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def mutate(data: bytes, chance: random.Random) -> bytes:
    """The file with up to eight bytes changed near its start, and perhaps cut off."""
    made = bytearray(data[: chance.choice((64, 512, 4096, len(data)))])
    for _ in range(chance.randrange(1, 9)):
        made[chance.randrange(min(len(made), 600))] = chance.choice((0, 1, 127, 255, 16, 128))
    return bytes(made)


def damage(ask: Probe, pictures: list[bytes], count: int) -> dict[str, object]:
    """Errors that mutated files raise beyond the one kind that means `not a picture`."""
    chance, raised, slowest = random.Random(1), Counter[str](), 0.0
    for number in range(count):
        data = mutate(pictures[number % len(pictures)], chance)
        began = time.process_time()
        try:
            ask(data)
        except Exception as error:
            raised[type(error).__name__] += 1
        slowest = max(slowest, time.process_time() - began)
    return {"raised": dict(raised.most_common()), "slowest_ms": slowest * 1e3}


def attack(ask: Probe, data: bytes) -> tuple[float, float, str]:
    """CPU ms and MiB at most of one hostile file, and what came of it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts again
    before, began = resident(), time.process_time()
    try:
        said = str(ask(data))
    except Exception as error:
        said = type(error).__name__
    spent = time.process_time() - began
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return spent * 1e3, peak - before, said


def contest(name: str, folder: Path, mutations: int) -> dict[str, object]:
    """Everything about one contestant, in this process."""
    before, began = resident(), time.process_time()
    ask = MAKERS[name]()
    ask((folder / "0").read_bytes())
    weight = ((time.process_time() - began) * 1e3, resident() - before)
    names = json.loads((folder / "names").read_text())
    files = {each: (folder / str(at)).read_bytes() for at, each in enumerate(names["samples"])}
    bad = {each: (folder / f"bad{at}").read_bytes() for at, each in enumerate(names["hostile"])}
    return {
        "weight": weight,
        "micros": {each: micros(ask, data) for each, data in files.items()},
        "damage": damage(ask, list(files.values()), mutations),
        "hostile": {each: attack(ask, data) for each, data in bad.items()},
    }


def report(names: dict[str, list[str]], found: dict[str, list[dict]]) -> None:
    """Print the tables: medians of the rounds; damage and attacks are those of the last one."""
    contestants = list(found)
    print(f"| CPU us | {' | '.join(contestants)} |\n|---|{'---|' * len(contestants)}")
    for name in names["samples"]:
        values = (statistics.median(one["micros"][name] for one in found[c]) for c in contestants)
        print(f"| {name} | {' | '.join(f'{value:.0f}' for value in values)} |")
    weights = []
    for contestant in contestants:
        both = zip(*(one["weight"] for one in found[contestant]), strict=True)
        weights.append("{:.0f}, {:.1f}".format(*map(statistics.median, both)))
    print(f"| import, ms and MiB | {' | '.join(weights)} |")
    for name in names["hostile"]:
        cells = (found[c][-1]["hostile"][name] for c in contestants)
        print(f"| {name} | {' | '.join(f'{a:.0f} ms, {b:.0f} MiB: {c}' for a, b, c in cells)} |")
    for contestant in contestants:
        print(f"\n{contestant}, damaged files: {found[contestant][-1]['damage']}")


def main() -> None:
    """Run as one contestant, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python that has imagesize, exifread and Pillow")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mutations", type=int, default=3000)
    parser.add_argument("--contestant", nargs=2, metavar=("NAME", "FOLDER"))
    options = parser.parse_args()
    if options.contestant:
        name, folder = options.contestant
        print(json.dumps(contest(name, Path(folder), options.mutations)))
        return
    with tempfile.TemporaryDirectory() as folder:
        files, bad = samples(), hostile()
        for at, data in enumerate(files.values()):
            (Path(folder) / str(at)).write_bytes(data)
        for at, data in enumerate(bad.values()):
            (Path(folder) / f"bad{at}").write_bytes(data)
        names = {"samples": list(files), "hostile": list(bad)}
        (Path(folder) / "names").write_text(json.dumps(names))
        found: dict[str, list[dict]] = {}
        for _ in range(options.rounds):
            for name in CONTESTANTS:
                python = options.peers if "exifread" in name else sys.executable
                if python:
                    command = [python, __file__, "--contestant", name, folder]
                    command += ["--mutations", str(options.mutations)]
                    said = subprocess.run(command, check=True, capture_output=True)
                    found.setdefault(name, []).append(json.loads(said.stdout))
        report(names, found)


if __name__ == "__main__":
    main()
