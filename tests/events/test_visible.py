"""Who may see what of the log, and that the database and the live stream agree on it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.auth import GRANTABLE, Principal, Right, Role
from atelier.database import Database
from atelier.events import outbox, visible
from atelier.events.visible import Audience, Entry, Filters, entry_of, scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
OWN, TEAM, STRANGE = 7, 12, 13
TYPES = [
    line.split("`")[1]
    for line in (ROOT / "docs/reference/events.md").read_text().splitlines()
    if line.startswith("| `")
]
SUBJECTS = ("images/1", f"users/{OWN}", "users/8", f"spaces/{TEAM}")
PUT = """
    INSERT INTO outbox (type, subject, sequence, data, space_id, position, sent_at)
    VALUES ($1, $2, $3, $4, $5, $6, now())
"""


def person(**roles: Role) -> Principal:
    """A user, and their roles in the team."""
    given = {OWN: Role.OWNER} | ({TEAM: roles["team"]} if roles else {})
    return Principal(OWN, "session", roles=given)


def key(*rights: Right) -> Principal:
    """A key of an owner for the team."""
    return Principal(OWN, "key.3", key_id=3, rights=frozenset(rights), roles={TEAM: Role.OWNER})


PRINCIPALS = {
    "alone": person(),
    "viewer": person(team=Role.VIEWER),
    "owner": person(team=Role.OWNER),
    "key": key(*GRANTABLE),
    "narrow key": key(Right.IMAGES_READ),
}


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A log with every type of event in every space and in none, of new and of old releases."""
    made = Database(fresh_database_url)
    position = itertools.count(1)
    for type_, subject in itertools.product(TYPES, SUBJECTS):
        for space, owner in ((OWN, OWN), (TEAM, TEAM), (STRANGE, STRANGE), (None, OWN)):
            data = f'{{"owner_id": {owner}, "user_id": 8}}'
            number = next(position)
            await made.fetch(PUT, type_, subject, number, data, space, number)
        number = next(position)
        await made.fetch(PUT, type_, subject, number, "{}", None, number)
    await made.fetch("INSERT INTO relay_position (position) VALUES ($1)", next(position) - 1)
    yield made
    await made.close()


@pytest.mark.parametrize("filters", [Filters(), Filters(space=TEAM)], ids=["all", "one space"])
@pytest.mark.parametrize("who", PRINCIPALS)
async def test_the_database_shows_what_the_stream_would(
    database: Database, who: str, filters: Filters
) -> None:
    """Exactly, for everybody: SQL and Python have the same rule."""
    audience = Audience.of(PRINCIPALS[who], filters)
    everything = [entry_of(sent) for sent in await outbox.read(database, limit=100_000)]
    rows = await database.fetch(visible._SCAN, *audience.values, 0, 10**6, 10**6)
    seen = [entry.position for entry in everything if audience.sees(entry)]
    assert [row["position"] for row in rows] == seen
    assert seen or (who == "alone" and filters.space)
    reached = (await scan(database, audience, 0, len(everything), 5)).position
    assert reached == (seen[4] if seen else len(everything))


def test_every_type_of_event_has_somebody_who_sees_it() -> None:
    """A family without a rule would be seen by nobody."""
    families = {type_.partition(".")[0] for type_ in TYPES}
    assert families == {*visible.FAMILIES, visible.USER}


@pytest.mark.parametrize(
    ("type_", "who", "seen"),
    [
        ("image.created", "viewer", True),
        ("image.created", "narrow key", True),
        ("task.created", "narrow key", False),
        ("space.updated", "narrow key", True),
        ("member.added", "viewer", True),
        ("member.added", "key", False),
        ("invitation.created", "viewer", False),
        ("invitation.created", "owner", True),
        ("invitation.created", "key", False),
        ("image.created", "alone", False),
    ],
)
def test_a_role_or_key_sees_what_it_may_read(type_: str, who: str, *, seen: bool) -> None:
    """Of the team's events."""
    entry = Entry(1, type_, f"spaces/{TEAM}", TEAM, None, b"")
    assert Audience.of(PRINCIPALS[who], Filters()).sees(entry) is seen


def test_less_than_before_is_no_cover() -> None:
    """A lost space or role ends what showed it; a new one does not."""
    alone, viewer, owner = (
        Audience.of(PRINCIPALS[who], Filters()) for who in ("alone", "viewer", "owner")
    )
    assert owner.covers(viewer)
    assert viewer.covers(alone)
    assert not viewer.covers(owner)
    assert not alone.covers(viewer)
