"""Whole numbers in queries, for frameworks that do not read them themselves."""

from __future__ import annotations

from atelier.wire.complaints import DECIMAL, MESSAGES, refused


def whole(given: str, most: int, *loc: str) -> int:
    """The number from 1 to `most` that stands at `loc` in decimal digits. Raises Invalid."""
    if not (given.isascii() and given.isdigit()):
        raise refused(DECIMAL, *loc)
    digits = given.lstrip("0") or "0"
    if len(digits) > len(str(most)) or int(digits) > most:
        raise refused(MESSAGES["less_than_equal"].format(le=most), *loc)
    if not int(digits):
        raise refused(MESSAGES["greater_than_equal"].format(ge=1), *loc)
    return int(digits)
