"""What every edge knows of spaces: `?space=`, who made a thing, repetitions elsewhere.

Who may do what in a space is judged by `atelier.auth` alone.
"""

from __future__ import annotations

from atelier.errors import NotFound
from atelier.wire.numbers import whole

PARAMETER = "space"
MAX_ID = 2**63 - 1
TEXT = "The space; left out: one's own."
GONE = 0  # in `created_by`: somebody who has left
_OWN = "(SELECT user_id FROM spaces WHERE spaces.id = owner_id)"
# Who made a thing, as its record tells; NULL is somebody who has left. Things of before there were
# spaces do not say it, but each of them is in the space of a person.
MAKER = f"nullif(coalesce(created_by, {_OWN}), {GONE})"
# As it is written down where a thing leaves its space, which can tell no more.
MAKER_FOR_GOOD = f"coalesce(created_by, {_OWN}, {GONE})"


def shown_maker(created_by: int | None) -> int | None:
    """Who made a thing, by a row that says it; None: somebody who has left."""
    return created_by or None


def read_space(given: str | None) -> int | None:
    """The number in `?space=`, for a framework that does not read it itself. Raises Invalid."""
    return None if given is None else whole(given, MAX_ID, "query", PARAMETER)


def elsewhere(user_id: int, space_id: int) -> tuple[int, ...]:
    """What a request's fingerprint says of its space: nothing where it is the caller's own.

    So a key that was used before there were spaces is still recognised.
    """
    return () if space_id == user_id else (space_id,)


def gone() -> NotFound:
    """The answer when a space was deleted while something was put into it."""
    return NotFound("There is no such space.")
