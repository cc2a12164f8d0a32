"""Who makes the request in hand: client address, user and session, for log lines and events.

An edge calls `begin` with each request and `identify` once it knows whose it is. Knows no
framework and decides nothing: what a principal may do is not asked here.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass

NOBODY = "-"  # in log lines, for a client, a user or a session that is not known
KEY = "key."  # begins the session of an API key, before its id


@dataclass(slots=True)
class Requester:
    """The client of one request, and its user and session once they are known.

    It is changed in place: tasks and threads of a request see a copy of the context, and what
    they find out must reach the access line, which is written outside.
    """

    client: str = NOBODY
    user: int | None = None
    session: str | None = None


_SOMEBODY = Requester()  # outside of any request; `identify` leaves it as it is
_current: ContextVar[Requester] = ContextVar("requester", default=_SOMEBODY)


def begin(client: str = NOBODY) -> Token[Requester]:
    """Begin a request of a client; give the token to `end`."""
    return _current.set(Requester(client or NOBODY))


def end(token: Token[Requester]) -> None:
    """End the request: the context is again as it was before."""
    _current.reset(token)


def identify(user: int, session: str | None) -> None:
    """Say whose request it is; without one that has begun nothing is remembered."""
    found = _current.get()
    if found is not _SOMEBODY:
        found.user, found.session = user, session


def current() -> Requester:
    """Return the requester; outside of requests one of whom nothing is known."""
    return _current.get()


def actor() -> str | None:
    """Return the name of who acts, in events: `users/7` or `keys/3`; None outside of requests."""
    found = _current.get()
    if found.user is None:
        return None
    if found.session is not None and found.session.startswith(KEY):
        return f"keys/{found.session.removeprefix(KEY)}"
    return f"users/{found.user}"


def user_of_line() -> str:
    """Return the user's id as log lines have it."""
    user = _current.get().user
    return NOBODY if user is None else str(user)
