"""Probing: formats, sizes and metadata told from headers, and refusals of everything hostile."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from atelier.imaging import BadPicture, Limits, NotAnImage, TooManyPixels, probe
from atelier.imaging.errors import BadPicture as Bad
from atelier.imaging.warm import HEIC
from tests.imaging.pictures import (
    PHOTOS,
    WATERFALL,
    chunk,
    deep,
    exif,
    photo,
    png_header,
    saved,
    waterfall,
)

GPS = {1: "S", 2: (33.0, 51.0, 24.5), 3: "W", 4: (70.0, 30.0, 0.0), 5: b"\x01", 6: 12.5}
SHOT = {
    33434: 0.004,
    33437: 2.8,
    34855: 200,
    37386: 35.0,
    42036: "Biotar",
    36867: "2011:09:03 12:30:01",
    36881: "+02:00",
}


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_format_comes_from_the_bytes(kind: str, media_type: str) -> None:
    """Every format we decode is told by its first bytes, with its size and media type."""
    found = probe(saved(waterfall(size=(31, 17)), kind))
    assert (found.format, found.media_type, found.width, found.height) == (
        kind,
        media_type,
        31,
        17,
    )
    assert (found.orientation, found.frames) == (1, 1)


@pytest.mark.parametrize("series", ["Landscape", "Portrait"])
@pytest.mark.parametrize("number", range(9))
def test_size_is_that_of_the_upright_picture(series: str, number: int) -> None:
    """Every photograph has its series' displayed size; an illegal orientation counts as none."""
    found = probe(photo(f"{series}_{number}"))
    assert (found.width, found.height) == ((1800, 1200) if series == "Landscape" else (1200, 1800))
    assert found.orientation == max(1, number)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_illegal_orientation_is_upright(value: int) -> None:
    """EXIF knows the orientations 1 to 8; anything else is taken as 1."""
    found = probe(saved(waterfall(size=(30, 20)), "JPEG", exif=exif({274: value})))
    assert (found.orientation, found.width, found.height) == (1, 30, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_read_from_every_format_that_has_exif(kind: str) -> None:
    """A sideways picture swaps its sides whatever container holds its EXIF."""
    found = probe(saved(waterfall(size=(30, 20)), kind, exif=exif({274: 6})))
    assert (found.orientation, found.width, found.height) == (6, 20, 30)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"<?xml version='1.0'?><svg/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<!doctype html><img src=x>",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"BMW is no picture, whatever its first letters",
        b"\0\0\0\x18ftypheic",
        b"\0\0\x01\0\x01\0",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    """SVG, PDF, EPS, HTML and noise are no images: the allow-list is of first bytes."""
    with pytest.raises(NotAnImage):
        probe(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_header_cut_short_is_a_bad_picture(kind: str) -> None:
    """A header cut anywhere is refused, or its size was already complete."""
    data = saved(waterfall(size=(31, 17)), kind)
    for length in range(12, min(len(data), 700)):
        try:
            found = probe(data[:length])
        except (BadPicture, NotAnImage):
            continue
        assert (found.width, found.height) == (31, 17)


@pytest.mark.parametrize(
    "data",
    [
        png_header(60_000, 60_000),
        png_header(65_001, 1),
        png_header(2**31, 2**31),
        b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, 1, 1, 0),
        b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 50_000, -50_000, 1, 24) + bytes(24),
        b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 8, 8, 65_500, 65_500, 3) + bytes(9),
        b"RIFF\x16\0\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\x00\xff\xff\x00",
    ],
    ids=["png", "png-side", "png-huge", "gif", "bmp", "jpeg", "webp"],
)
def test_a_pixel_bomb_is_refused_by_its_header(data: bytes) -> None:
    """A header that announces too many pixels is enough for a refusal; no decoder is asked."""
    with pytest.raises(TooManyPixels):
        probe(data)


def test_a_tiff_whose_tile_is_a_bomb_is_refused() -> None:
    """A small TIFF of enormous tiles would make its decoder allocate one."""
    entries = [
        (256, 4, 1, 8),
        (257, 4, 1, 8),
        (258, 3, 1, 8),
        (322, 4, 1, 60_000),
        (323, 4, 1, 60_000),
    ]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    with pytest.raises(TooManyPixels):
        probe(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4))


def test_the_limit_is_the_last_size_allowed() -> None:
    """As many pixels as the limit pass, one more does not."""
    assert probe(png_header(100, 10), Limits(pixels=1_000)).width == 100
    with pytest.raises(TooManyPixels):
        probe(png_header(91, 11), Limits(pixels=1_000))
    with pytest.raises(TooManyPixels):
        probe(png_header(11, 1), Limits(side=10))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_metadata_tells_camera_time_and_place(kind: str) -> None:
    """EXIF becomes readable names, ISO 8601 and decimal degrees, south and west negative."""
    block = exif({271: "Zenit", 272: "E", 274: 1, 306: "2012:01:01 00:00:00"}, SHOT, GPS)
    found = probe(saved(waterfall(), kind, exif=block)).metadata
    assert found["exif"] == {
        "make": "Zenit",
        "model": "E",
        "lens": "Biotar",
        "taken_at": "2011-09-03T12:30:01+02:00",
        "exposure_s": 0.004,
        "f_number": 2.8,
        "iso": 200,
        "focal_length_mm": 35,
    }
    assert found["gps"] == {"latitude": -33.8568056, "longitude": -70.5, "altitude_m": -12.5}
    assert (found["mode"], found["bit_depth"], found["frames"]) == ("RGB", 8, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_metadata_names_the_colour_profile(kind: str) -> None:
    """An embedded ICC profile is called by its own description."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert "sRGB" in probe(saved(waterfall(), kind, icc_profile=profile)).metadata["icc_profile"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_metadata_tells_the_resolution(kind: str) -> None:
    """Dots per inch are told whatever unit the file uses."""
    assert probe(saved(waterfall(), kind, dpi=(300, 300))).metadata["dpi"] == pytest.approx(
        [300, 300], abs=0.5
    )


@pytest.mark.parametrize(
    ("mode", "kind", "expected", "bits"),
    [
        ("L", "JPEG", "L", 8),
        ("CMYK", "JPEG", "CMYK", 8),
        ("1", "PNG", "1", 1),
        ("P", "PNG", "P", 8),
        ("LA", "PNG", "LA", 8),
        ("RGBA", "PNG", "RGBA", 8),
        ("I;16", "PNG", "L", 16),
        ("RGBA", "WEBP", "RGBA", 8),
        ("P", "GIF", "P", 8),
        ("1", "TIFF", "1", 1),
        ("CMYK", "TIFF", "CMYK", 8),
        ("I;16", "TIFF", "L", 16),
    ],
)
def test_metadata_tells_mode_and_bit_depth(mode: str, kind: str, expected: str, bits: int) -> None:
    """Colour mode and bits per channel are those of the file, not of the decoder."""
    image = deep() if mode == "I;16" else waterfall(mode)
    found = probe(saved(image, kind)).metadata
    assert (found["mode"], found["bit_depth"]) == (expected, bits)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames_are_counted(kind: str) -> None:
    """Animations and pages are counted without decoding them."""
    frames = [Image.new("RGB", (20, 10), (70 * number, 10, 200)) for number in range(3)]
    found = probe(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert found.frames == found.metadata["frames"] == 3


def test_a_gif_frame_beyond_the_screen_enlarges_the_picture() -> None:
    """A GIF is as large as what its decoder will make of it, not as its screen descriptor says."""
    data = bytearray(saved(waterfall("P", (64, 48)), "GIF"))
    data[6:10] = struct.pack("<HH", 3, 4)
    found = probe(bytes(data))
    assert (found.width, found.height) == (64, 48)


def jsonb_safe(value: Any) -> bool:
    """True if PostgreSQL's jsonb takes a value: no NUL, no surrogate, no infinity."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and jsonb_safe(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(jsonb_safe, value))
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return "\0" not in value and len(value) <= 200 and value.encode("utf-8").decode() == value
    return value is None or abs(value) < 2**63


@pytest.mark.parametrize(
    "text", ["a\0b", "\x07bell", "x" * 5_000, "\ud800", "caf\u00e9", "\u202etxt.exe"]
)
def test_strings_of_strangers_are_tamed(text: str) -> None:
    """NUL, control characters, lone surrogates and endless strings stay out of the metadata."""
    raw = text.encode("utf-8", "surrogatepass")
    entry = struct.pack("<HHII", 271, 2, len(raw), 26)
    block = b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4) + raw
    found = probe(png_header(5, 5) + chunk(b"eXIf", block)).metadata
    assert jsonb_safe(found)


@pytest.mark.parametrize(
    "value",
    [
        struct.pack("<II", 1, 0),
        struct.pack("<II", 0, 0),
        struct.pack("<II", 2**32 - 1, 1),
    ],
)
def test_numbers_of_strangers_are_tamed(value: bytes) -> None:
    """A rational over zero is no number, and a senseless one is left out."""
    block = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 33434, 5, 1, 26) + bytes(4) + value
    assert "exif" not in probe(png_header(5, 5) + chunk(b"eXIf", block)).metadata


def block_of(tag: int, kind: int, value: bytes, count: int, shot: bool = False) -> bytes:
    """A PNG whose EXIF has one tag, of the picture or of the shot."""
    at = 8 if not shot else 26
    entry = struct.pack("<HHII", tag, kind, count, at + 18)
    main = b"\1\0" + struct.pack("<HHII", 34665, 4, 1, 26) + bytes(4)
    block = b"II*\0\x08\0\0\0" + main * shot + b"\1\0" + entry + bytes(4) + value
    return png_header(5, 5) + chunk(b"eXIf", block)


@pytest.mark.parametrize(
    ("raw", "artist"),
    [
        ("Иванов И.И.".encode("cp1251"), "Иванов И.И."),
        ("ФОТО: Ёлкин".encode("cp1251"), "ФОТО: Ёлкин"),
        ("© Музей «Заря», 1985".encode("cp1251"), "© Музей «Заря», 1985"),
        ("Photo: Пётр".encode("cp1251"), "Photo: Пётр"),
        ("Иванов".encode(), "Иванов"),
        ("Jürgen Müller".encode("latin-1"), "Jürgen Müller"),
        ("Vue à Besançon".encode("latin-1"), "Vue à Besançon"),
        ("© 2020 Someone".encode("latin-1"), "© 2020 Someone"),
        ("山田太郎".encode("shift_jis"), None),
        ("Иванов".encode("koi8_r"), None),
        (b"\x81\x8d\x8f\x90\x9d", None),
    ],
)
@pytest.mark.parametrize("kind", [2, 129])
def test_texts_are_read_as_they_were_written(raw: bytes, artist: str | None, kind: int) -> None:
    """UTF-8, of EXIF 3.0's own type, too; else Russian or Western letters; else nothing."""
    found = probe(block_of(315, kind, raw + b"\0", len(raw) + 1)).metadata
    assert found.get("exif", {}).get("artist") == artist


def test_a_text_that_is_cut_is_cut_between_characters() -> None:
    """Only the beginning of a long text is read, and half a letter is not another one."""
    raw = b"x" + "Ж".encode() * 2_000 + b"\0"
    found = probe(block_of(315, 2, raw, len(raw))).metadata
    assert found["exif"]["artist"] == "x" + "Ж" * 199


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (b"2016:02:03 00:28:33", "2016-02-03T00:28:33"),
        (b"2016:02:29 23:59:59", "2016-02-29T23:59:59"),
        (b"2016:02:02 24:28:33", None),
        (b"2016:13:02 04:28:33", None),
        (b"2016:02:30 04:28:33", None),
        (b"2016:00:10 04:28:33", None),
        (b"2016:01:10 04:60:33", None),
        (b"0000:00:00 00:00:00", None),
        (b"99999:01:01 00:00:00", None),
    ],
)
def test_a_date_that_cannot_be_is_absent(text: bytes, taken: str | None) -> None:
    """What is handed on as a date is one that a calendar has."""
    found = probe(block_of(36867, 2, text + b"\0", len(text) + 1, shot=True)).metadata
    assert found.get("exif", {}).get("taken_at") == taken


@pytest.mark.parametrize(
    ("pairs", "latitude"),
    [
        (((1, 0), (6, 0), (36, 1)), None),
        (((55, 1), (0, 0), (30, 1)), None),
        (((55, 1), (30, 1), (0, 0)), 55.5),
        (((555, 10),), 55.5),
    ],
)
def test_a_place_without_its_degrees_is_none(
    pairs: tuple[tuple[int, int], ...], latitude: float | None
) -> None:
    """Over nought there are no seconds, but no degrees or minutes mean no place."""
    gps = {1: "N", 2: tuple(map(IFDRational, *zip(*pairs, strict=True))), 3: "E", 4: (37.0, 0, 0)}
    block = exif({}, gps=gps).tobytes()
    found = probe(png_header(5, 5) + chunk(b"eXIf", block.removeprefix(b"Exif\0\0"))).metadata
    assert found.get("gps", {}).get("latitude") == latitude


@pytest.mark.parametrize("parts", [(91.0, 0.0, 0.0), (0.0, 6000.0, 0.0)])
def test_a_place_off_the_globe_is_left_out(parts: tuple[float, ...]) -> None:
    """Latitudes beyond the poles are not handed on."""
    assert (
        "gps"
        not in probe(saved(waterfall(), "JPEG", exif=exif({}, gps={**GPS, 2: parts}))).metadata
    )


def test_metadata_is_bounded_in_all() -> None:
    """Metadata beyond the limit is dropped, the essentials are kept."""
    data = saved(
        waterfall(), "JPEG", exif=exif({271: "m" * 190, 272: "n" * 190, 315: "a" * 190}, SHOT, GPS)
    )
    found = probe(data, Limits(metadata=200)).metadata
    assert len(json.dumps(found, ensure_ascii=False).encode()) <= 200
    assert found["mode"] == "RGB"


def test_a_profile_that_inflates_without_end_is_cut() -> None:
    """A compressed profile cannot fill the memory."""
    bomb = b"name\0\0" + zlib.compress(bytes(64 << 20))
    assert probe(png_header(5, 5) + chunk(b"iCCP", bomb)).metadata["icc_profile"] == "unnamed"


def test_directories_that_loop_end() -> None:
    """A TIFF whose pages point at one another is counted once round."""
    page = (
        struct.pack("<H", 2)
        + struct.pack("<HHII", 256, 4, 1, 9)
        + struct.pack("<HHII", 257, 4, 1, 9)
    )
    assert probe(b"II*\0\x08\0\0\0" + page + struct.pack("<I", 8)).frames == 1


def test_probing_loads_no_imaging_library() -> None:
    """A web process that probes pays neither the time nor the memory of a decoder."""
    code = (
        "import sys; from atelier.imaging import probe; probe(open(sys.argv[1], 'rb').read());"
        "print(sorted({'PIL', 'cv2', 'numpy', 'pyvips', 'simplejpeg'} & set(sys.modules)))"
    )
    picture = str(PHOTOS / "Landscape_6.jpg")
    done = subprocess.run(
        [sys.executable, "-c", code, picture], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


SAMPLES = [
    WATERFALL[:2000],
    saved(waterfall(size=(31, 17)), "PNG", exif=exif({271: "Zenit"}, SHOT, GPS)),
    saved(waterfall(size=(31, 17)), "JPEG", exif=exif({271: "Zenit"}, SHOT, GPS)),
    saved(waterfall(size=(31, 17)), "WEBP", exif=exif({271: "Zenit"}, SHOT, GPS)),
    saved(waterfall(size=(31, 17)), "TIFF", exif=exif({271: "Zenit"}, SHOT, GPS)),
    saved(waterfall(size=(31, 17)), "GIF"),
    saved(waterfall(size=(31, 17)), "BMP"),
    HEIC,
    saved(waterfall(size=(31, 17)), "AVIF", exif=exif({271: "Zenit"}, SHOT, GPS)),
]
MAGICS = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\0\0\0WEBP",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"\0\0\0\x14ftypheic\0\0\0\0mif1\0\0\1\0meta\0\0\0\0",
]


def only_our_errors(data: bytes) -> None:
    """Probes bytes; what comes out is safe, or one of the three refusals."""
    try:
        found = probe(data)
    except (NotAnImage, TooManyPixels, Bad):
        return
    assert jsonb_safe(found.metadata)
    assert found.width > 0
    assert found.height > 0
    assert 1 <= found.orientation <= 8
    assert len(json.dumps(found.metadata, ensure_ascii=False).encode()) <= Limits().metadata


@settings(max_examples=400)
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=300))
@example(magic=b"II*\0", rest=b"\x08\0\0\0\xff\xff")
def test_noise_behind_a_magic_gives_our_errors_only(magic: bytes, rest: bytes) -> None:
    """Whatever follows the first bytes, nothing but our three errors comes out."""
    only_our_errors(magic + rest)


@settings(max_examples=600)
@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.none() | st.integers(0, 800),
)
def test_damaged_headers_give_our_errors_only(
    sample: bytes, edits: list[tuple[int, bytes]], cut: int | None
) -> None:
    """A real file with bytes overwritten or cut off gives safe metadata or one of our errors."""
    data = bytearray(sample)
    for place, patch in edits:
        data[place : place + len(patch)] = patch
    only_our_errors(bytes(data[:cut]))
