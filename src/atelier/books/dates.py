"""Dates of publication, as exact as they are known: a day, a month or a year (ISO 8601, W3CDTF).

In the table a date is its first day, which sorts, and how exact it is.
"""

from __future__ import annotations

import re
from datetime import date

DAY, MONTH, YEAR = "day", "month", "year"
PATTERN = "^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$"
LENGTH = 10  # of the longest
_FORM = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_FORMS = "A date is written YYYY-MM-DD, or YYYY-MM or YYYY where no more is known"
_SHOWN = {YEAR: 4, MONTH: 7, DAY: LENGTH}  # characters of the whole date


def parse(text: str) -> tuple[date, str]:
    """The first day of a date and its precision. Raises ValueError with a sentence."""
    if not (match := _FORM.fullmatch(text)):
        raise ValueError(_FORMS)
    year, month, day = match.groups()
    if year == "0000":
        raise ValueError("The first year is 0001")
    try:
        first = date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        raise ValueError(f"There is no such {'day' if day else 'month'}") from None
    return first, DAY if day else MONTH if month else YEAR


def shown(first: date, precision: str) -> str:
    """The text that `parse` read."""
    return first.isoformat()[: _SHOWN[precision]]
