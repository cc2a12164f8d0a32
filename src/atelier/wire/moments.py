"""Moments as clients write them: RFC 3339, with a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EXAMPLE = "as in 2027-01-31T12:00:00Z"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND


def moment(value: object) -> datetime:
    """The moment in UTC. Raises ValueError, whose text is a sentence for the client.

    Numbers are none, whatever a framework would make of them.
    """
    if not isinstance(value, str):
        raise ValueError(f"a time is written {_EXAMPLE}")  # noqa: TRY004 - pydantic shows ValueErrors alone
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"a time is written {_EXAMPLE}") from None
    if found.tzinfo is None:
        raise ValueError(f"a time has a zone, {_EXAMPLE}")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError("there is no such time") from None


def microseconds(found: datetime) -> int:
    """A moment as a number, for cursors: since 1970."""
    return (found - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The moment that `microseconds` made it of; of a number that is none, the nearest."""
    return _EPOCH + min(max(number, _FIRST), _LAST) * _MICROSECOND
