"""Jobs J and K by Atelier, by peers among Python's libraries and by a floor, each a process.

Speaks over its standard streams: a number runs the job that many times and answers CPU
milliseconds per run; "save DIR" writes the last results; "wall THREADS N" answers the wall
milliseconds of N runs in each of THREADS threads.
"""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "VIPS_CONCURRENCY"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402 - reads its environment when it is imported
from PIL import Image, ImageDraw, ImageFont, ImageOps  # noqa: E402

Job = "Callable[[], dict[str, bytes]]"
SIZES = ("100x100", "500x500")
FONT = Path(__file__).parents[1] / "src/atelier/imaging/fonts/DejaVuSans.ttf"


def atelier(job: str, data: bytes, caption: str) -> Callable[[], dict[str, bytes]]:
    """Ours."""
    from atelier.imaging.identify.probe import probe
    from atelier.imaging.recipe import Recipe
    from atelier.imaging.renditions import render
    from atelier.imaging.transform import transform

    recipe = Recipe(SIZES, caption=caption)

    def j() -> dict[str, bytes]:
        probe(data)
        return {rendition.name: rendition.data for rendition in render(recipe, data)}

    return j if job == "J" else lambda: {"k": transform(data)[0]}


def saved(image: Image.Image, quality: int = 80) -> bytes:
    """A JPEG by Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0" if image.mode == "RGB" else 0)
    return buffer.getvalue()


def pillow_caption(image: Image.Image, caption: str) -> Image.Image:
    """The caption as anybody would write it."""
    canvas = Image.new("RGB", (image.width, image.height + 23))
    canvas.paste(image, (0, 0))
    ImageDraw.Draw(canvas).text(
        (4, image.height + 4), caption, font=ImageFont.truetype(str(FONT), 12), fill="white"
    )
    return canvas


def pillow_naive(job: str, data: bytes, caption: str) -> Callable[[], dict[str, bytes]]:
    """One opening per result, as tutorials show it."""

    def opened() -> Image.Image:
        return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")

    def sized(side: int) -> bytes:
        image = opened()
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
        return saved(image)

    def j() -> dict[str, bytes]:
        made = {"100x100": sized(100), "500x500": sized(500), "gray": saved(opened().convert("L"))}
        return (
            {**made, "captioned": saved(pillow_caption(opened(), caption), 90)}
            if caption
            else made
        )

    def k() -> dict[str, bytes]:
        image = opened().transpose(Image.Transpose.ROTATE_90)
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        pixels = np.asarray(image).astype(np.int64)
        rows, columns = np.arange(1, image.height + 1), np.arange(1, image.width + 1)
        (pixels * rows[:, None, None] * columns[None, :, None]).sum(axis=(0, 1)) / (
            image.height * image.width
        )
        return {"k": saved(image)}

    return j if job == "J" else k


def pillow_tuned(job: str, data: bytes, caption: str) -> Callable[[], dict[str, bytes]]:
    """One opening, reductions before Lanczos, a scaled decode for K."""

    def j() -> dict[str, bytes]:
        image = Image.open(io.BytesIO(data))
        image = ImageOps.exif_transpose(image)
        image = image if image.mode == "RGB" else image.convert("RGB")
        middle = (
            image.copy()
            if max(image.size) <= 500
            else image.resize(
                (
                    round(image.width * 500 / max(image.size)),
                    round(image.height * 500 / max(image.size)),
                ),
                Image.Resampling.LANCZOS,
                reducing_gap=2.0,
            )
        )
        made = {"500x500": saved(middle), "gray": saved(image.convert("L"))}
        if caption:
            made["captioned"] = saved(pillow_caption(image, caption), 90)
        middle.thumbnail((100, 100), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return {**made, "100x100": saved(middle)}

    def k() -> dict[str, bytes]:
        image = Image.open(io.BytesIO(data))
        half = (image.width // 2, image.height // 2)
        image.draft("RGB", half)
        image = ImageOps.exif_transpose(image).transpose(Image.Transpose.ROTATE_90)
        blas_magic(np.asarray(image))
        return {"k": saved(image)}

    return j if job == "J" else k


def blas_magic(pixels: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """The magic number by BLAS in blocks of 64 rows."""
    height, width, channels = pixels.shape
    flat, total = pixels.reshape(height, -1), np.zeros(width * channels)
    for start in range(0, height, 64):
        block = flat[start : start + 64].astype(np.float64)
        total += np.arange(start + 1, start + 1 + len(block), dtype=np.float64) @ block
    return tuple((np.arange(1, width + 1) @ total.reshape(width, channels)) / (width * height))


def pyvips_tuned(job: str, data: bytes, caption: str) -> Callable[[], dict[str, bytes]]:
    """One decode into memory, then thumbnails of it."""
    import pyvips

    pyvips.cache_set_max(0)

    def j() -> dict[str, bytes]:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="error").autorot().copy_memory()
        middle = image.thumbnail_image(500, height=500, size="down").copy_memory()
        made = {
            "500x500": middle.jpegsave_buffer(Q=80, keep="none"),
            "100x100": middle.thumbnail_image(100, height=100, size="down").jpegsave_buffer(
                Q=80, keep="none"
            ),
            "gray": image.colourspace("b-w").jpegsave_buffer(Q=80, keep="none"),
        }
        if caption:
            text = pyvips.Image.text(
                caption, font="DejaVu Sans 9", fontfile=str(FONT), width=image.width - 8
            )
            field = text.embed(4, 4, image.width, 23).bandjoin(
                [text.embed(4, 4, image.width, 23)] * 2
            )
            whole = image.join(field.copy(interpretation="srgb"), "vertical")
            made["captioned"] = whole.jpegsave_buffer(Q=90, subsample_mode="on", keep="none")
        return made

    def k() -> dict[str, bytes]:
        image = (
            pyvips.Image.jpegload_buffer(data, shrink=2, fail_on="error")
            .autorot()
            .rot270()
            .copy_memory()
        )
        blas_magic(image.numpy())
        return {"k": image.jpegsave_buffer(Q=80, keep="none")}

    return j if job == "J" else k


def floor(job: str, data: bytes, caption: str) -> Callable[[], dict[str, bytes]]:
    """The floor: a decode to YUV planes and the encodes of pixels that are already there."""
    import simplejpeg

    done = {
        name: np.asarray(Image.open(io.BytesIO(each)))
        for name, each in atelier(job, data, caption)().items()
    }
    decode = yuv_decoder()

    def run() -> dict[str, bytes]:
        decode(data, len(data))
        return {
            name: encoded(pixels, 90 if name == "captioned" else 80)
            for name, pixels in done.items()
        }

    def encoded(pixels: np.ndarray[Any, Any], quality: int) -> bytes:
        grey = pixels.ndim == 2
        return bytes(
            simplejpeg.encode_jpeg(
                np.atleast_3d(pixels),
                quality,
                "GRAY" if grey else "RGB",
                "Gray" if grey else "420",
            )
        )

    return run


def yuv_decoder() -> Callable[[bytes, int], int]:
    """Compile the floor's decoder; without compiler or header decode luma alone, a bit less."""
    folder = Path(tempfile.mkdtemp())
    source = Path(__file__).parent / "peers/floor.c"
    command = [
        "gcc",
        "-O2",
        "-shared",
        "-fPIC",
        "-o",
        str(folder / "floor.so"),
        str(source),
        "-ljpeg",
    ]
    if subprocess.run(command, check=False, capture_output=True).returncode == 0:
        decode = ctypes.CDLL(str(folder / "floor.so")).decode_yuv
        decode.argtypes = [ctypes.c_char_p, ctypes.c_ulong]
        return decode
    import simplejpeg

    return lambda data, _: len(simplejpeg.decode_jpeg(data, "GRAY"))


CONTESTANTS = {
    "atelier": atelier,
    "floor": floor,
    "Pillow naive": pillow_naive,
    "Pillow tuned": pillow_tuned,
    "pyvips tuned": pyvips_tuned,
}


def wall(run: Callable[[], dict[str, bytes]], threads: int, count: int) -> float:
    """Wall milliseconds of `count` runs in each of some threads."""

    def many() -> None:
        for _ in range(count):
            run()

    workers = [threading.Thread(target=many) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - start) * 1e3


def main(contestant: str, job: str, path: str, caption: str = "") -> None:
    """Serves one contestant until its input ends."""
    run = CONTESTANTS[contestant](job, Path(path).read_bytes(), caption)
    last = run()
    print("ready", flush=True)
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "save":
            for name, data in last.items():
                Path(arguments[0], f"{name}.jpg").write_bytes(data)
            print("saved", flush=True)
        elif word == "wall":
            print(wall(run, int(arguments[0]), int(arguments[1])), flush=True)
        else:
            before = time.process_time()
            for _ in range(int(word)):
                last = run()
            print((time.process_time() - before) * 1e3 / int(word), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
