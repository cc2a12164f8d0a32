"""Moments as clients write them: RFC 3339, with a zone."""

from __future__ import annotations

from datetime import UTC, datetime

_EXAMPLE = "as in 2027-01-31T12:00:00Z"


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
