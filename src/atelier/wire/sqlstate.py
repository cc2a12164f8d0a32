"""What PostgreSQL's error codes mean to a client, whatever the driver.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from atelier.errors import AtelierError, Invalid, Unavailable
from atelier.wire.problems import RETRY_SECONDS

UNSTORABLE = ("22",)  # data exceptions: NUL in a text, a number out of range
AWAY = ("08", "53", "57P")  # connection, resources, shut down or starting


def client_error(state: str) -> AtelierError | None:
    """The client's error for an SQLSTATE; None for those that are our own faults."""
    if state.startswith(UNSTORABLE):
        return unstorable()
    return away() if state.startswith(AWAY) else None


def unstorable() -> Invalid:
    """The refusal of a value that no column can hold."""
    return Invalid("A value cannot be stored: a NUL character, or a number out of range.")


def away() -> Unavailable:
    """The answer while the database cannot be used."""
    return Unavailable("The database is not reachable.", retry_after=RETRY_SECONDS)
