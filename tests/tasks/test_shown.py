"""Which pictures are shown as they are stored, told by their first bytes."""

from __future__ import annotations

import pytest

from atelier.tasks.formats import HEAD_BYTES, identify
from atelier.tasks.shown import Showing, showing
from tests.imaging.pictures import deep, exif, png_header, saved, waterfall

JPEG = saved(waterfall(), "JPEG")
BASELINE = b"\xff\xc0\0\x11\x08"
STORED, MADE, NEVER = Showing.STORED, Showing.MADE, Showing.NEVER
PROFILE = b"\0" * 60_000  # two of them fill more than the first bytes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(JPEG, STORED, id="JPEG"),
        pytest.param(saved(waterfall("CMYK"), "JPEG"), MADE, id="CMYK JPEG"),
        pytest.param(JPEG.replace(BASELINE, b"\xff\xc3\0\x11\x08"), MADE, id="lossless JPEG"),
        pytest.param(JPEG.replace(BASELINE, b"\xff\xc1\0\x11\x0c"), MADE, id="12-bit JPEG"),
        pytest.param(saved(waterfall(), "JPEG", icc_profile=PROFILE * 2), MADE, id="long header"),
        pytest.param(saved(waterfall(), "JPEG", exif=exif({0x0112: 8})), STORED, id="sideways"),
        pytest.param(png_header(9, 9), STORED, id="PNG"),
        pytest.param(png_header(9, 9, 1, 0), STORED, id="PNG of two colours"),
        pytest.param(png_header(9, 9, 16), MADE, id="16-bit PNG"),
        pytest.param(b"\x89PNG\r\n\x1a\n", MADE, id="nothing but a signature"),
        pytest.param(saved(deep(), "TIFF"), MADE, id="TIFF"),
        pytest.param(saved(waterfall(), "BMP"), MADE, id="BMP"),
        pytest.param(b"GIF89a", STORED, id="GIF"),
        pytest.param(b"RIFF....WEBPVP8 ", STORED, id="WebP"),
        pytest.param(b"\0\0\0\x14ftypavif\0\0\0\0mif1", STORED, id="AVIF"),
        pytest.param(b"\0\0\0\x14ftypheic\0\0\0\0mif1", MADE, id="HEIC"),
        pytest.param(b"\xff\x4f\xff\x51", NEVER, id="JPEG 2000"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', NEVER, id="SVG"),
    ],
)
def test_how_a_picture_is_shown(content: bytes, expected: Showing) -> None:
    """As it is only where every browser shows it; what the first bytes do not tell is made."""
    head = content[:HEAD_BYTES]
    assert showing(identify(head).name, head) is expected
