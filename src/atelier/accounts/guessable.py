"""Refuses the passwords that are tried first: the commonest ones, and the address itself.

The list comes with the package; where it was taken from stands at its head.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from atelier.wire.complaints import refused
from atelier.wire.texts import squeezed

LIST = "common_passwords.txt"
COMMENT = "# "
COMMON = "This password is among the commonest, which are tried first; choose another"
OWN_ADDRESS = "A password that is the address is tried first; choose another"


def refuse_guessable(password: str, email: str | None, field: str) -> None:
    """Raise Invalid, naming the body's `field`, for a password that is guessed at once."""
    same = _same(password)
    if email is not None and same in {_same(email), _same(email.rpartition("@")[0])}:
        raise refused(OWN_ADDRESS, "body", field)
    if same in _common():
        raise refused(COMMON, "body", field)


def _same(text: str) -> str:
    """The form that a guesser tries: case makes no difference, nor does composition."""
    return squeezed(squeezed(text).casefold())


@cache
def _common() -> frozenset[str]:
    text = files("atelier.accounts").joinpath(LIST).read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith(COMMENT))
