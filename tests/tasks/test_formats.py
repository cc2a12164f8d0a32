"""Formats by content, not by name."""

from __future__ import annotations

import io

import pytest
from PIL import Image, features

from atelier.errors import Unsupported
from atelier.tasks.formats import HEAD_BYTES, TAIL_BYTES, TGA_FOOTER, identify

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def box(brand: bytes, *compatible: bytes) -> bytes:
    """The beginning of a file of boxes."""
    body = brand + bytes(4) + b"".join(compatible)
    return (8 + len(body)).to_bytes(4, "big") + b"ftyp" + body + b"\0\0\0\x08mdat"


def saved(pillow_format: str, mode: str = "RGB") -> bytes:
    """A small picture as Pillow writes it."""
    buffer = io.BytesIO()
    Image.new(mode, (32, 16), 1).save(buffer, pillow_format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("pillow_format", "mode", "media_type"),
    [
        ("JPEG", "RGB", "image/jpeg"),
        ("PNG", "RGBA", "image/png"),
        ("GIF", "P", "image/gif"),
        ("WEBP", "RGB", "image/webp"),
        ("BMP", "RGB", "image/bmp"),
        ("TIFF", "RGB", "image/tiff"),
        ("ICO", "RGBA", "image/vnd.microsoft.icon"),
        ("ICNS", "RGBA", "image/x-icns"),
        ("JPEG2000", "RGB", "image/jp2"),
        ("DDS", "RGB", "image/vnd-ms.dds"),
        ("PCX", "RGB", "image/vnd.zbrush.pcx"),
        ("SGI", "RGB", "image/sgi"),
        ("PPM", "1", "image/x-portable-bitmap"),
        ("PPM", "L", "image/x-portable-graymap"),
        ("PPM", "RGB", "image/x-portable-pixmap"),
        ("PPM", "F", "image/x-portable-floatmap"),
        ("TGA", "RGB", "image/x-tga"),
        ("AVIF", "RGB", "image/avif"),
        ("QOI", "RGB", "image/x-qoi"),
    ],
)
def test_what_an_encoder_writes_is_known(pillow_format: str, mode: str, media_type: str) -> None:
    """A real file of each format that the tests can make."""
    if pillow_format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    content = saved(pillow_format, mode)
    assert identify(content[:HEAD_BYTES], content[-TAIL_BYTES:]).media_type == media_type


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"BM" + bytes(12) + b"\x0c\0\0\0", "image/bmp"),
        (box(b"heic", b"mif1", b"heic"), "image/heic"),
        (box(b"mif1", b"mif1", b"heic"), "image/heic"),
        (box(b"mif1", b"miaf", b"avif"), "image/avif"),
        (box(b"mif1"), "image/heif"),
        (box(b"msf1"), "image/heif-sequence"),
        (box(b"hevc"), "image/heic-sequence"),
        (box(b"avis"), "image/avif"),
        (box(b"crx "), "image/x-canon-cr3"),
        (b"\xff\x0a\xfa\x7f", "image/jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
        (b"\xff\x4f\xff\x51\0", "image/j2c"),
        (b"\xff\xd8\xff\xf7\0", "image/jls"),
        (b"II\xbc\x01", "image/jxr"),
        (b"8BPS\0\x01", "image/vnd.adobe.photoshop"),
        (b"gimp xcf v011\0", "image/x-xcf"),
        (b"v/1\x01\x02\0\0\0", "image/x-exr"),
        (b"#?RADIANCE\nFORMAT", "image/vnd.radiance"),
        (b"SIMPLE  =                    T / conforms", "image/fits"),
        (b"P7\n# four channels\nWIDTH 2\n", "image/x-portable-arbitrarymap"),
        (b"AT&TFORM\0\0\0\x10DJVU", "image/vnd.djvu"),
        (b"FORM\0\0\0\x10ILBM", "image/x-ilbm"),
        (b"P5\n# made by hand\n# twice\n3 4 255\n", "image/x-portable-graymap"),
        (SVG, "image/svg+xml"),
        (b"\xef\xbb\xbf \n<?xml version='1.0'?>\n<!-- <a> -->\n" + SVG, "image/svg+xml"),
        (b'<!DOCTYPE svg [ <!ENTITY a "b"> ]>' + SVG, "image/svg+xml"),
        (b'<s:svg xmlns:s="http://www.w3.org/2000/svg" width="1">', "image/svg+xml"),
    ],
)
def test_what_begins_as_an_image_is_one(head: bytes, media_type: str) -> None:
    """Formats that nothing here can write."""
    assert identify(head).media_type == media_type


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"hello",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"<html><svg xmlns='http://www.w3.org/2000/svg'/></html>",
        b"<!DOCTYPE html><svg xmlns='http://www.w3.org/2000/svg'>",
        b"<svg onload='alert(1)'>",
        b"<svgx xmlns='http://www.w3.org/2000/svg'>",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"MZ\x90\0",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"BMW makes cars, not pictures, as everybody knows.",
        b"P5 is no picture",
        b"P1\n",
        b"\n\n\n\n",
        b"\0\0\x01\0\0\0" + bytes(30),
        box(b"isom", b"isom", b"mp42"),
        box(b"mp42", b"avif"),
        b"GIF88a",
        b"\x89PNG",
        b"\xff\xd8",
        b"FORM\0\0\0\x10AIFF",
    ],
)
def test_what_does_not_is_none(head: bytes) -> None:
    """Whatever its name would say."""
    with pytest.raises(Unsupported):
        identify(head)


def test_tga_is_known_by_its_end() -> None:
    """It has nothing to know it by at the beginning."""
    assert identify(b"\0\0\x02", TGA_FOOTER).name == "TGA"


@pytest.mark.parametrize(
    "unit",
    [
        b"<!---->",
        b"<?x?>",
        b" ",
        b"<!DOCTYPE svg[]>",
        b"<!--",
        b"<!DOCTYPE [",
        b"<svg ",
        b"P1 ",
        b"P1 #\n",
        b"a:",
    ],
)
@pytest.mark.parametrize("start", [b"", b"<svg ", b"<", b"P2", b"P7\n#", b"<svg xmlns:"])
def test_hostile_beginnings_are_judged_in_linear_time(start: bytes, unit: bytes) -> None:
    """Sixty-four kilobytes of anything are scanned in linear time."""
    with pytest.raises(Unsupported):
        identify((start + unit * HEAD_BYTES)[:HEAD_BYTES])
