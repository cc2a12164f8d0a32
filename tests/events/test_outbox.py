"""Events are written with their transaction, and the log of sent ones can be read and pruned."""

from __future__ import annotations

import uuid
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest
from sqlalchemy.exc import IntegrityError

from atelier import locks
from atelier.database import Database
from atelier.events import outbox
from atelier.events.messages import Event, utcnow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TYPES = ("book.created", "image.created", "book.updated")


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    database = Database(fresh_database_url)
    yield database
    await database.close()


async def log_of(database: Database, count: int) -> list[str]:
    """Insert events of alternating types, sent a minute apart, the last one now; their ids."""
    rows = await database.fetch(
        """
        INSERT INTO outbox (type, subject, sequence, data, position, sent_at)
        SELECT ($2::text[])[1 + n % 3], 'books/1', n, jsonb_build_object('n', n), n,
               clock_timestamp() - interval '1 minute' * ($1 - n)
        FROM generate_series(1, $1::int) AS n ORDER BY n
        RETURNING event_id
        """,
        count,
        list(TYPES),
    )
    await database.fetch("INSERT INTO relay_position (position) VALUES ($1)", count)
    return [str(row["event_id"]) for row in rows]


async def test_recorded_with_the_transaction(database: Database) -> None:
    """A recorded event is in the table after the commit, with all that the returned event says."""
    async with database.session() as session:
        event = outbox.record(
            session, "book.created", "books/7", 1, {"title": "Ы", "tags": [1, None]}
        )
        await session.commit()
    [row] = await database.fetch(f"SELECT {outbox.COLUMNS} FROM outbox WHERE position IS NULL")
    assert outbox.event_of(row) == event
    assert event.time.tzinfo is UTC


async def test_a_rolled_back_fact_is_not_announced(database: Database) -> None:
    """Without the commit there is no event."""
    async with database.session() as session:
        outbox.record(session, "book.created", "books/7", 1, {})
        await session.flush()
    assert await database.fetch("SELECT FROM outbox") == []


async def test_many_events_of_one_transaction_keep_their_order(database: Database) -> None:
    """Ids grow in the order in which the events were recorded."""
    async with database.session() as session:
        for number in range(1, 200):
            outbox.record(session, "book.updated", "books/7", number, {})
        await session.commit()
    rows = await database.fetch("SELECT sequence FROM outbox ORDER BY id")
    assert [row["sequence"] for row in rows] == list(range(1, 200))


async def test_a_sequence_number_is_used_once(database: Database) -> None:
    """Two events of one subject cannot have the same number: a writer without the lock fails."""
    async with database.session() as session:
        outbox.record(session, "book.created", "books/7", 1, {})
        outbox.record(session, "book.updated", "books/7", 1, {})
        with pytest.raises(IntegrityError):
            await session.commit()


async def test_insert_in_one_statement_with_the_row(database: Database) -> None:
    """`INSERT` extends a hand-written statement; id and time come from the database."""
    await database.fetch(
        "CREATE TABLE shelves (id bigint GENERATED ALWAYS AS IDENTITY, name text)"
    )
    rows = await database.fetch(
        f"""
        WITH made AS (INSERT INTO shelves (name) VALUES ('a'), ('b') RETURNING *),
        announced AS (
            {outbox.INSERT}
            SELECT 'shelf.created', 'shelves/' || id, 1, jsonb_build_object('name', name),
                7, 'keys/3'
            FROM made
        )
        SELECT id FROM made
        """
    )
    found = await database.fetch(f"SELECT {outbox.COLUMNS} FROM outbox ORDER BY id")
    events = [outbox.event_of(row) for row in found]
    assert [(e.subject, e.data, e.space, e.actor) for e in events] == [
        ("shelves/1", {"name": "a"}, 7, "keys/3"),
        ("shelves/2", {"name": "b"}, 7, "keys/3"),
    ]
    assert len({uuid.UUID(event.id) for event in events}) == len(rows) == 2
    assert all(abs(event.time - utcnow()) < timedelta(minutes=1) for event in events)


async def notifications(database: Database, *, asleep: bool) -> list[str]:
    """Notifications of one insert, with or without an idle relay."""
    heard: list[str] = []
    relay = await asyncpg.connect(database.url)
    await relay.add_listener(outbox.WAKE_CHANNEL, lambda *_: heard.append("woken"))
    if asleep:
        await relay.fetch(f"SELECT pg_advisory_lock({locks.RELAY_CLASS}, {locks.RELAY_ASLEEP})")
    await database.fetch(
        f"{outbox.INSERT} SELECT 'a', 'b', n, '{{}}', NULL, NULL FROM generate_series(1, 3) AS n"
    )
    await relay.fetch("SELECT 1")
    await relay.close()
    return heard


async def test_writers_wake_a_sleeping_relay_only(database: Database) -> None:
    """A statement notifies once when the relay sleeps and not at all while it is awake."""
    assert await notifications(database, asleep=False) == []
    await database.fetch("TRUNCATE outbox")
    assert await notifications(database, asleep=True) == ["woken"]


async def test_no_relay_falls_asleep_over_an_open_transaction(database: Database) -> None:
    """The lock that means sleep cannot be had while events are about to be committed."""
    relay = await asyncpg.connect(database.url)
    try_lock = f"SELECT pg_try_advisory_lock({locks.RELAY_CLASS}, {locks.RELAY_ASLEEP})"
    async with database.session() as session:
        outbox.record(session, "a", "b", 1, {})
        await session.flush()
        assert not await relay.fetchval(try_lock)
        await session.commit()
    assert await relay.fetchval(try_lock)
    await relay.close()


async def test_the_log_is_read_by_position(database: Database) -> None:
    """Pages of the log follow each other without gap or repetition."""
    ids = await log_of(database, 25)
    found: list[outbox.Sent] = []
    while page := await outbox.read(database, found[-1].position if found else 0, limit=10):
        found += page
    assert [sent.position for sent in found] == list(range(1, 26))
    assert [sent.event.id for sent in found] == ids
    assert isinstance(found[0].event, Event)
    assert found[4].event.data == {"n": 5}


@pytest.mark.parametrize(
    "types", [["book.created"], ["book.created", "book.updated"], ["none.such"], []]
)
async def test_the_log_of_some_types(database: Database, types: list[str]) -> None:
    """Only the wanted types come, in order, with the limit counted over all of them."""
    await log_of(database, 30)
    expected = [n for n in range(1, 31) if TYPES[n % 3] in types and n > 4]
    found = await outbox.read(database, 4, types, limit=12)
    assert [sent.position for sent in found] == expected[:12]


async def test_unsent_events_are_not_in_the_log(database: Database) -> None:
    """An event that the relay has not sent yet is not read."""
    async with database.session() as session:
        outbox.record(session, "a", "b", 1, {})
        await session.commit()
    assert await outbox.read(database) == []


async def test_pruning(database: Database) -> None:
    """Sent events older than the retention go, others and unsent ones stay, positions go on."""
    await log_of(database, 2500)
    async with database.session() as session:
        outbox.record(session, "a", "b", 1, {})
        await session.commit()
    await database.fetch(
        "UPDATE outbox SET time = time - interval '30 days' WHERE position IS NULL"
    )
    assert await outbox.prune(database, timedelta(minutes=100.5)) == 2399
    assert [sent.position for sent in await outbox.read(database)] == list(range(2400, 2501))
    assert await outbox.bounds(database) == (2399, 2500)
    assert len(await database.fetch("SELECT FROM outbox WHERE position IS NULL")) == 1


async def test_pruning_everything_keeps_the_position(database: Database) -> None:
    """An empty log still knows how many events were sent."""
    await log_of(database, 5)
    assert await outbox.prune(database, timedelta(seconds=-1)) == 5
    assert await outbox.bounds(database) == (5, 5)


async def test_bounds_before_the_first_relay(database: Database) -> None:
    """A database in which no relay ever ran has an empty log."""
    assert await outbox.bounds(database) == (0, 0)


async def test_gaps(database: Database) -> None:
    """Only subjects whose sequence misses a number are found, wherever pruning has cut."""
    await database.fetch(
        f"{outbox.INSERT} SELECT 't', subject, sequence, '{{}}', NULL, NULL FROM "
        "(VALUES ('whole', 3), ('whole', 4), ('torn', 1), ('torn', 3)) AS t (subject, sequence)"
    )
    assert [row["subject"] for row in await database.fetch(outbox.GAPS)] == ["torn"]
