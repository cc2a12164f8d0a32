"""The work of a probe is bounded, whatever a file of up to 1 MiB says: counted, not timed."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from atelier.imaging import BadPicture, NotAnImage, TooManyPixels, probe
from atelier.imaging.identify.budget import DEFLATED_BYTES, INFLATED_BYTES, STEPS, Budget
from tests.imaging.identify import hostile
from tests.imaging.pictures import chunk, png_header, saved, waterfall

# Lines of Python that a probe may run: most for the sub-blocks of a GIF, of which 16 are a step.
MOST_LINES = 100 * STEPS
REFUSALS = (BadPicture, NotAnImage, TooManyPixels)


Tracer = Callable[[FrameType, str, Any], Any]


class Counting:
    """Counts the lines that the parsers run, and stops them beyond the limit."""

    def __init__(self, most: int) -> None:
        self.lines, self._most = 0, most

    def trace(self, frame: FrameType, event: str, _: Any) -> Tracer | None:
        """As `sys.settrace` calls it."""
        if "/imaging/identify/" not in frame.f_code.co_filename:
            return None
        self.lines += event == "line"
        if self.lines > self._most:
            raise AssertionError(f"more than {self._most} lines")
        return self.trace


def bounded(data: bytes, most: int = MOST_LINES) -> None:
    """Probes `data`, and counts."""
    budget, before = Budget(), sys.gettrace()
    sys.settrace(Counting(most).trace)
    try:
        probe(data, budget=budget)
    except REFUSALS:
        pass
    finally:
        sys.settrace(before)
    assert min(budget.steps, budget.inflated, budget.deflated) >= 0
    assert budget.inflated <= INFLATED_BYTES


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_hostile_headers_cost_no_more_than_the_budget(name: str) -> None:
    """Loops, overlaps, floods and bombs end when the budget does."""
    data = hostile.HOSTILE[name]()
    assert len(data) <= hostile.MIB
    bounded(data)


def rare(value: int) -> st.SearchStrategy[int]:
    """An offset or a count: small, near the end, at any limit, or this one."""
    return st.sampled_from((0, 1, 2, 8, value, 0xFF, 0xFFFF, 0xFFFF_FFFF)) | st.integers(0, 2**20)


ENTRY = st.tuples(
    st.sampled_from((256, 257, 258, 277, 282, 34665, 34675, 34853)), st.integers(0, 18), rare(8)
)
TAGS = st.lists(st.tuples(ENTRY, rare(8)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(tags=TAGS, count=rare(1_000), after=rare(8), unit=st.binary(min_size=1, max_size=40))
def test_any_tiff_is_within_the_budget(
    tags: list[Any], count: int, after: int, unit: bytes
) -> None:
    """Directories of any counts, offsets and types, in front of anything again and again."""
    body = b"".join(struct.pack("<HHII", *entry, place) for entry, place in tags)
    first = struct.pack("<H", count & 0xFFFF) + body + struct.pack("<I", after)
    data = hostile.filled(b"II*\0\x08\0\0\0" + first, unit)
    bounded(data)
    bounded(hostile.jpeg_with_exif(data))


UNITS = st.lists(
    st.tuples(st.sampled_from((b"", *hostile.PARTS)), st.binary(max_size=6)), max_size=6
)


@settings(max_examples=100, deadline=None)
@given(begin=st.sampled_from(hostile.BEGINNINGS), units=UNITS)
def test_any_flood_is_within_the_budget(begin: bytes, units: list[tuple[bytes, bytes]]) -> None:
    """Whatever parts of any format fill a file, and whatever stands between them."""
    unit = b"".join(part + noise for part, noise in units) or b"\0"
    bounded(hostile.filled(begin, unit))


def test_the_first_profile_is_the_one() -> None:
    """A PNG may have one profile; those that follow are not even unpacked."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    first = chunk(b"iCCP", b"n\0\0" + zlib.compress(made))
    second = chunk(b"iCCP", b"n\0\0" + zlib.compress(bytes(1 << 20)))
    budget = Budget()
    found = probe(png_header(5, 5) + first + second * 10, budget=budget)
    assert "sRGB" in found.metadata["icc_profile"]
    assert INFLATED_BYTES - budget.inflated == len(made)
    assert budget.deflated > DEFLATED_BYTES // 2


def test_what_tells_no_size_within_the_budget_is_refused() -> None:
    """A flood in front of the size is no picture; metadata behind a flood is left out."""
    with pytest.raises(BadPicture):
        probe(hostile.HOSTILE["jpeg-empty-segments"]())
    assert probe(hostile.HOSTILE["jpeg-empty-segments-after"]()).width == 9
    with pytest.raises(BadPicture, match="too many blocks"):
        probe(hostile.HOSTILE["gif-frames"]())


def test_large_files_of_real_writers_fit() -> None:
    """A PNG of 100 MiB in chunks of 8 KiB has its last one read; so has a long animated GIF."""
    body = chunk(b"IDAT", bytes(8192)) * 12_800
    png = png_header(5, 5) + body + chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
    assert probe(png).metadata["dpi"] == [300, 300]
    frames = [Image.new("RGB", (20, 10), (number, 9, 9)) for number in range(200)]
    gif = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2)
    long = saved(waterfall("P"), "GIF")
    full = b"\x21\xfe" + (b"\xff" + bytes(255)) * 400_000 + b"\0"
    assert probe(gif).frames == 200
    assert probe(long[:-1] + full + b"\x3b").width == 320
