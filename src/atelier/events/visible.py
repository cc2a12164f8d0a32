"""Which events of the log somebody may see, and their part of it from the database.

What belongs to a space is for those who may read its kind there. Closed by default: an event whose
family has no rule is for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from atelier.auth import Principal, Right, may
from atelier.database import Database
from atelier.errors import OutOfRange
from atelier.events import outbox
from atelier.events.messages import Event
from atelier.events.outbox import COLUMNS, READ_LIMIT, Sent, event_of

SCAN = 5_000  # positions that one query looks at, however few of them are to be seen
USER, MEMBER = "user", "member"
_PERSON = "users/"  # before the id, in subjects
SHARED = 0  # in SQL, the space of what all spaces share

Rule = Callable[[Principal, int | None], bool]


def _by(right: Right) -> Rule:
    return lambda principal, space: may(principal, space, right)


def _person(principal: Principal, space: int | None) -> bool:
    return principal.key_id is None and space in principal.roles


# As the routes have it that show the same: a key may ask for its space, but not for people.
FAMILIES: dict[str, Rule] = {
    "image": _by(Right.IMAGES_READ),
    "task": _by(Right.TASKS_READ),
    "queue": _by(Right.TASKS_READ),
    "file": _by(Right.FILES_READ),
    "book": _by(Right.BOOKS_READ),
    "space": lambda principal, space: space in principal.roles,
    MEMBER: _person,
    "invitation": _by(Right.MANAGE),
}  # beside `user`, whose events are for that user alone


class Entry(NamedTuple):
    """An event of the log as streams carry it, and what decides who may see it.

    `person` is the user whom an event of users or members is about.
    """

    position: int
    type: str
    subject: str
    space: int | None
    person: int | None
    frame: bytes

    @property
    def family(self) -> str:
        """What the type begins with."""
        return self.type.partition(".")[0]

    @property
    def document(self) -> bytes:
        """The CloudEvent as JSON."""
        return self.frame[self.frame.index(b"{") : -2]

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Under which audiences ask for it: a space (None: what all share), or a person."""
        if self.family == USER:
            return (person_key(self.person),)
        if self.family == MEMBER:
            return (self.space, person_key(self.person))
        return (self.space,)


def person_key(user_id: int | None) -> Hashable:
    """The key of what is about one user."""
    return (USER, user_id)


def entry_of(sent: Sent) -> Entry:
    """Encode an event, once for everybody who will see it."""
    position, event = sent
    frame = b"id: %d\ndata: %b\n\n" % (position, event.to_json())
    return Entry(position, event.type, event.subject, space_of(event), _person_of(event), frame)


def space_of(event: Event) -> int | None:
    """The space of an event; those of before there were spaces name their owner."""
    if event.space is not None:
        return event.space
    owner = event.data.get("owner_id")
    return owner if isinstance(owner, int) else None


def _person_of(event: Event) -> int | None:
    if event.type.startswith(f"{MEMBER}."):
        user_id = event.data.get("user_id")
        return user_id if isinstance(user_id, int) else None
    number = event.subject.removeprefix(_PERSON)
    return int(number) if event.subject.startswith(_PERSON) and number.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Filters:
    """What somebody wants to see of what they may.

    `type` is a type, or a family as `image.*`.
    """

    space: int | None = None
    subject: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Audience:
    """Somebody who reads events: what they may see and want to.

    `families` are those to be seen in each space; None is what all spaces share.
    """

    families: Mapping[int | None, frozenset[str]]
    person: int | None  # None: a key, or one who asks for a single space
    user_id: int
    filters: Filters

    @classmethod
    def of(cls, principal: Principal, filters: Filters) -> Audience:
        """The audience that a principal makes with these filters."""
        spaces: Sequence[int | None] = (
            (*principal.roles, None) if filters.space is None else (filters.space,)
        )
        families = {
            space: frozenset(name for name, rule in FAMILIES.items() if rule(principal, space))
            for space in spaces
        }
        alone = principal.key_id is not None or filters.space is not None
        person = None if alone else principal.user_id
        return cls(families, person, principal.user_id, filters)

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Under which it is to be asked; what changes memberships is under the user's."""
        return (*(key for key, shown in self.families.items() if shown), person_key(self.user_id))

    @property
    def values(self) -> tuple[list[int], list[str], str]:
        """The parameters of `_SEEN`."""
        pairs = [
            (SHARED if space is None else space, family)
            for space, shown in self.families.items()
            for family in shown
        ]
        return (
            [space for space, _ in pairs],
            [family for _, family in pairs],
            "" if self.person is None else f"{_PERSON}{self.person}",
        )

    def sees(self, entry: Entry) -> bool:
        """Whether an event is to be shown."""
        wanted = self.filters
        if wanted.subject is not None and entry.subject != wanted.subject:
            return False
        if wanted.type is not None and wanted.type not in (entry.type, f"{entry.family}.*"):
            return False
        if entry.family == USER:
            return entry.person is not None and entry.person == self.person
        return entry.family in self.families.get(entry.space, ())

    def is_changed_by(self, entry: Entry) -> bool:
        """Whether an event says that this user may see more or less from now on."""
        return entry.person == self.user_id

    def covers(self, other: Audience) -> bool:
        """Whether nothing that the other shows is lost here."""
        return all(
            shown <= self.families.get(space, frozenset())
            for space, shown in other.families.items()
        )


class Page(NamedTuple):
    """Events that somebody sees, and the position that the look has reached."""

    entries: Sequence[Entry]
    position: int


# The same as `sees` without its filters: a page must not tell by its position that there was
# something that it does not show.
_SEEN = f"""
    (coalesce(space_id, (data->>'owner_id')::bigint, {SHARED}), split_part(type, '.', 1))
        IN (SELECT * FROM unnest($1::bigint[], $2::text[]))
    OR (type LIKE '{USER}.%' AND subject = $3)
"""
# Positions have no gaps, so `$5` bounds the rows that are looked at.
_SCAN = f"""
    SELECT position, {COLUMNS} FROM outbox
    WHERE position > $4 AND position <= $5 AND ({_SEEN}) ORDER BY position LIMIT $6
"""
_HISTORY = f"""
    SELECT position, {COLUMNS} FROM outbox
    WHERE subject = $4 AND position > $5 AND ({_SEEN}) ORDER BY sequence LIMIT $6
"""


async def scan(
    database: Database, audience: Audience, after: int, upto: int, limit: int = READ_LIMIT
) -> Page:
    """Read what an audience sees after a position, of the next `SCAN` positions at most.

    Raises OutOfRange when the log has been pruned beyond the position.
    """
    upto = min(upto, after + SCAN)
    rows = await database.fetch(_SCAN, *audience.values, after, upto, limit)
    # Asked after the read: rows pruned meanwhile would be a gap in what was read.
    require_kept(await outbox.bounds(database), after)
    reached = rows[-1]["position"] if len(rows) == limit else upto
    return Page(_shown(audience, rows), reached)


async def page(database: Database, audience: Audience, after: int | None, limit: int) -> Page:
    """Read a page after a position; left out: nothing yet, and the position to go on from.

    Raises OutOfRange.
    """
    bounds = await outbox.bounds(database)
    if audience.filters.subject is not None:
        return await _history(database, audience, after, limit, bounds)
    if after is None:
        return Page((), bounds.last)
    require_reached(bounds, after)
    return await scan(database, audience, after, bounds.last, limit)


async def _history(
    database: Database, audience: Audience, after: int | None, limit: int, bounds: outbox.Bounds
) -> Page:
    """Read what is known of one thing, oldest first, from the index of its events."""
    if after is not None:
        require_reached(bounds, after)
    subject = audience.filters.subject
    rows = await database.fetch(_HISTORY, *audience.values, subject, after or 0, limit)
    if after is not None:
        require_kept(await outbox.bounds(database), after)
    reached = rows[-1]["position"] if len(rows) == limit else max(bounds.last, after or 0)
    return Page(_shown(audience, rows), reached)


def _shown(audience: Audience, rows: Sequence[asyncpg.Record]) -> list[Entry]:
    entries = (entry_of(Sent(row["position"], event_of(row))) for row in rows)
    return [entry for entry in entries if audience.sees(entry)]


def require_kept(bounds: outbox.Bounds, after: int) -> None:
    """Raise OutOfRange when events after a position are gone."""
    if bounds.pruned > after:
        raise OutOfRange(f"The log has been pruned up to {bounds.pruned}.", slug="log-pruned")


def require_reached(bounds: outbox.Bounds, after: int) -> None:
    """Raise OutOfRange when the log has not come to a position."""
    if after > bounds.last:
        raise OutOfRange(f"The log has not come further than {bounds.last}.", slug="log-ahead")
