"""Turns a picture's metadata into a small JSON-safe dict: camera, time, place, profile.

The values are untrusted and go into PostgreSQL's jsonb: no NUL, no lone surrogate, no
infinity, bounded lengths.
"""

from __future__ import annotations

import json
import math
import struct
from contextlib import suppress
from datetime import datetime
from typing import Any

from atelier.imaging.identify.budget import Budget
from atelier.imaging.identify.headers import Header
from atelier.imaging.identify.strings import decoded
from atelier.imaging.identify.tiff import ASCII, UTF8, Entry, NotTiff, Tiff

# Characters kept of any one string.
MAX_STRING = 200
EXIF_DIRECTORY, GPS_DIRECTORY, ORIENTATION = 34665, 34853, 274
STRINGS = {
    "make": 271,
    "model": 272,
    "software": 305,
    "artist": 315,
    "copyright": 33432,
    "lens_make": 42035,
    "lens": 42036,
}
NUMBERS = {
    "exposure_s": 33434,
    "f_number": 33437,
    "iso": 34855,
    "focal_length_mm": 37386,
    "focal_length_35mm": 41989,
}
DATE_ORIGINAL, DATE_DIGITIZED, DATE_CHANGED, OFFSET_ORIGINAL = 36867, 36868, 306, 36881
MAX_OFFSET_HOURS = 14  # of any place from UTC
DEGREES_LATITUDE, DEGREES_LONGITUDE = 90, 180
# Orientations that swap width and height.
SIDEWAYS = range(5, 9)


def orientation(header: Header, budget: Budget | None = None) -> int:
    """The EXIF orientation, 1..8; 1 if it is invalid or missing."""
    found = header.orientation
    if found is None:
        try:
            tiff = Tiff.open(header.exif, budget or Budget())
            found = tiff.number(tiff.directory(tiff.first).get(ORIENTATION), 1)
        except (NotTiff, struct.error):
            return 1
    return found if 1 <= found <= 8 else 1


def describe(header: Header, limit: int, budget: Budget) -> dict[str, Any]:
    """Collects the metadata; beyond `limit` bytes of JSON it drops the least important first."""
    found: dict[str, Any] = {
        "mode": header.mode,
        "bit_depth": header.bits,
        "frames": header.frames,
    }
    if header.dpi and all(math.isfinite(value) and 0 < value < 1e6 for value in header.dpi):
        found["dpi"] = [round(value, 2) for value in header.dpi]
    if header.icc:
        found["icc_profile"] = profile_name(header.icc) or "unnamed"
    found.update(_exif(header.exif, budget))
    for key in ("exif", "gps", "icc_profile"):
        if len(json.dumps(found, ensure_ascii=False).encode()) > limit:
            found.pop(key, None)
    return found


def _exif(data: bytes, budget: Budget) -> dict[str, Any]:
    try:
        tiff = Tiff.open(data, budget)
        main = tiff.directory(tiff.first)
        shot, where = (
            tiff.directory(place) if (place := tiff.number(main.get(tag))) else {}
            for tag in (EXIF_DIRECTORY, GPS_DIRECTORY)
        )
        tags = {**shot, **main}
        found = {"exif": _camera(tiff, tags), "gps": _position(tiff, where)}
    except (NotTiff, struct.error, OverflowError):
        return {}
    return {key: value for key, value in found.items() if value}


def _camera(tiff: Tiff, tags: dict[int, Entry]) -> dict[str, Any]:
    found: dict[str, Any] = {name: _string(tiff, tags.get(tag)) for name, tag in STRINGS.items()}
    found["taken_at"] = _date(tiff, tags)
    for name, tag in NUMBERS.items():
        numbers = tiff.numbers(tags.get(tag))
        if numbers and math.isfinite(numbers[0]) and 0 < numbers[0] < 1e9:
            found[name] = numbers[0] if isinstance(numbers[0], int) else round(numbers[0], 9)
    return {name: value for name, value in found.items() if value}


def _date(tiff: Tiff, tags: dict[int, Entry]) -> str:
    """EXIF's "2011:09:03 12:30:00" as ISO 8601, with its offset if the file has one."""
    for tag in (DATE_ORIGINAL, DATE_DIGITIZED, DATE_CHANGED):
        text = _string(tiff, tags.get(tag))
        date, _, time = text.partition(" ")
        parts = [*date.replace("-", ":").split(":"), *time.split(":")]
        if len(parts) != 6 or not all(part.isascii() and part.isdigit() for part in parts):
            continue
        with suppress(ValueError, OverflowError):  # hour 24, month 13, 30 February, year 0
            year, month, day, hour, minute, second = (int(part[:5]) for part in parts)
            # Without a zone: a camera writes the time of its place.
            when = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
            return when.isoformat() + _offset(tiff, tags)
    return ""


def _offset(tiff: Tiff, tags: dict[int, Entry]) -> str:
    text = _string(tiff, tags.get(OFFSET_ORIGINAL))
    valid = (
        len(text) == 6 and text[0] in "+-" and text[3] == ":" and (text[1:3] + text[4:]).isdigit()
    )
    if not valid or not text.isascii():
        return ""
    return text if int(text[1:3]) <= MAX_OFFSET_HOURS and int(text[4:]) < 60 else ""


def _position(tiff: Tiff, tags: dict[int, Entry]) -> dict[str, float]:
    latitude = _degrees(tiff, tags.get(1), tags.get(2), DEGREES_LATITUDE)
    longitude = _degrees(tiff, tags.get(3), tags.get(4), DEGREES_LONGITUDE)
    if latitude is None or longitude is None:
        return {}
    found = {"latitude": latitude, "longitude": longitude}
    altitude = tiff.numbers(tags.get(6))
    if altitude and math.isfinite(altitude[0]) and abs(altitude[0]) < 1e5:
        found["altitude_m"] = round(
            -altitude[0] if tiff.number(tags.get(5)) == 1 else altitude[0], 2
        )
    return found


def _degrees(tiff: Tiff, side: Entry | None, value: Entry | None, limit: int) -> float | None:
    parts = tiff.numbers(value)[:3]
    # Seconds over nought are none, but a position without its degrees or minutes is elsewhere.
    if len(parts) == 3 and math.isnan(parts[2]):
        parts.pop()
    if not parts or not all(math.isfinite(part) and part >= 0 for part in parts):
        return None
    degrees = sum(
        float(part) / divisor for part, divisor in zip(parts, (1, 60, 3600), strict=False)
    )
    if degrees > limit:
        return None
    return round(-degrees if _string(tiff, side).upper() in ("S", "W") else degrees, 7)


def _string(tiff: Tiff, entry: Entry | None) -> str:
    if entry is None or entry[0] not in (ASCII, UTF8):
        return ""
    raw = tiff.raw(entry, 4 * MAX_STRING)
    return _printable(decoded(raw, cut=entry[1] > len(raw)))


def clean(raw: bytes, encoding: str = "utf-8") -> str:
    """Untrusted text as a printable line of at most `MAX_STRING` characters."""
    return _printable(raw.decode(encoding, "replace").split("\0", 1)[0])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()[:MAX_STRING]


def profile_name(icc: bytes) -> str:
    """The description of an ICC profile (`desc` tag, v2 or v4 form), or "" if it has none."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        for place in range(132, 132 + min(count, 200) * 12, 12):
            name, offset, size = struct.unpack_from(">4sII", icc, place)
            if name == b"desc":
                return _profile_text(icc[offset : offset + size])
    except (struct.error, UnicodeError):
        pass
    return ""


def _profile_text(tag: bytes) -> str:
    if tag[:4] == b"desc":
        (length,) = struct.unpack_from(">I", tag, 8)
        return clean(tag[12 : 12 + min(length, 4 * MAX_STRING)])
    if tag[:4] == b"mluc":
        length, offset = struct.unpack_from(">II", tag, 20)
        return clean(tag[offset : offset + min(length, 4 * MAX_STRING)], "utf-16-be")
    return ""
