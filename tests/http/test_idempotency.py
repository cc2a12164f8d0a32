"""Idempotency keys on a real PostgreSQL: replayed, mismatched, in progress, failed, killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Response
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from atelier.database import Database
from atelier.errors import Conflict, Invalid
from atelier.http import idempotency, idempotency_keys, presence
from atelier.http.idempotency import Key, Ticket, begin, once
from atelier.wire.idempotency import LOCK, Replay, fingerprint, scope
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

SCOPE = scope(7, "POST /api/books")
CONTENT = fingerprint("content")
ANSWER = (201, {"location": "/api/books/1"}, b'{"id":1}')


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The worker's database without any key."""
    made = Database(database_url)
    await made.fetch("DELETE FROM idempotency_keys")
    yield made
    await made.close()


@pytest.fixture
def key() -> str:
    """An unused key."""
    return str(uuid.uuid4())


async def make(session: AsyncSession, email: str) -> None:
    """Stands for the row that a POST creates."""
    statement = (
        "INSERT INTO users (email, email_folded, password_hash, sequence, created_at) "
        "VALUES (:e, :e, '', 1, now())"
    )
    await session.execute(text(statement), {"e": email})


async def made(database: Database, email: str) -> int:
    """How many rows were created under this name."""
    return len(await database.fetch("SELECT 1 FROM users WHERE email = $1", email))


async def take(database: Database, key: str, content: bytes = CONTENT, **options: Any) -> Ticket:
    """The right to run."""
    begun = await begin(database, SCOPE, key, content, **options)
    assert isinstance(begun, Ticket)
    return begun


async def run(database: Database, key: str, email: str) -> Ticket:
    """One whole run."""
    ticket = await take(database, key)
    async with database.session() as session:
        await make(session, email)
        await ticket.complete(session, *ANSWER)
        await session.commit()
    return ticket


async def age(database: Database, key: str, column: str, seconds: float) -> None:
    """Let time pass for one key."""
    statement = (
        f"UPDATE idempotency_keys SET {column} = {column} - make_interval(secs => $2) "
        "WHERE key = $1"
    )
    await database.fetch(statement, key, seconds)


async def test_the_first_answer_is_replayed(database: Database, key: str) -> None:
    """Status, headers and body are those of the first run."""
    await run(database, key, key)
    assert await begin(database, SCOPE, key, CONTENT) == Replay(*ANSWER)


async def test_the_same_key_with_other_content_is_refused(database: Database, key: str) -> None:
    """It is a mistake of the client, whether the first run is done or not."""
    ticket = await take(database, key)
    with pytest.raises(Invalid, match="other content"):
        await begin(database, SCOPE, key, fingerprint("another"))
    async with database.session() as session:
        await ticket.complete(session, *ANSWER)
        await session.commit()
    with pytest.raises(Invalid, match="other content"):
        await begin(database, SCOPE, key, fingerprint("another"))


async def test_a_run_at_work_is_not_joined(database: Database, key: str) -> None:
    """The second request is told when to try again."""
    await take(database, key)
    with pytest.raises(Conflict, match="still running") as refused:
        await begin(database, SCOPE, key, CONTENT)
    assert refused.value.retry_after


async def test_of_many_at_once_one_runs(database: Database, key: str) -> None:
    """However many requests come with one key at the same moment."""
    begun = await asyncio.gather(
        *(begin(database, SCOPE, key, CONTENT) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, Ticket) for each in begun) == 1
    assert sum(isinstance(each, Conflict) for each in begun) == 19


@pytest.mark.parametrize(
    "other",
    [scope(8, "POST /api/books"), scope(7, "POST /api/tasks"), scope(None, "POST /api/users")],
)
async def test_users_and_operations_have_their_own_keys(
    database: Database, key: str, other: str
) -> None:
    """No user is answered with another user's answer."""
    await run(database, key, key)
    assert isinstance(await begin(database, other, key, CONTENT), Ticket)


async def test_a_run_that_failed_gives_its_key_back(database: Database, key: str) -> None:
    """Errors are not replayed: the next request runs, even with other content."""
    await (await take(database, key)).release()
    assert isinstance(await begin(database, SCOPE, key, fingerprint("another")), Ticket)


async def test_release_after_the_commit_keeps_the_answer(database: Database, key: str) -> None:
    """A completed request stays completed."""
    await (await run(database, key, key)).release()
    assert isinstance(await begin(database, SCOPE, key, CONTENT), Replay)


async def test_the_answer_stands_or_falls_with_the_row(database: Database, key: str) -> None:
    """A transaction that is rolled back leaves neither, and the key stays with its run."""
    ticket = await take(database, key)
    async with database.session() as session:
        await make(session, key)
        await ticket.complete(session, *ANSWER)
        await session.rollback()
    assert await made(database, key) == 0
    with pytest.raises(Conflict):
        await begin(database, SCOPE, key, CONTENT)


async def test_a_run_that_was_taken_over_cannot_commit(database: Database, key: str) -> None:
    """A process that was stopped for longer than the lock and then goes on changes nothing."""
    stopped = await take(database, key)
    await age(database, key, "locked_at", LOCK.total_seconds() + 1)
    await run(database, key, key)
    async with database.session() as session:
        await make(session, f"{key}-again")
        with pytest.raises(Conflict, match="taken over"):
            await stopped.complete(session, *ANSWER)
    await stopped.release()
    assert (await made(database, key), await made(database, f"{key}-again")) == (1, 0)
    assert isinstance(await begin(database, SCOPE, key, CONTENT), Replay)


async def test_a_young_lock_holds(database: Database, key: str) -> None:
    """A run is not taken over before the lock time."""
    await take(database, key)
    await age(database, key, "locked_at", LOCK.total_seconds() / 2)
    with pytest.raises(Conflict):
        await begin(database, SCOPE, key, CONTENT)


async def test_a_run_is_taken_over_only_for_the_same_content(database: Database, key: str) -> None:
    """The killed request's key still belongs to its content."""
    await take(database, key)
    await age(database, key, "locked_at", LOCK.total_seconds() + 1)
    with pytest.raises(Invalid):
        await begin(database, SCOPE, key, fingerprint("another"))


@asynccontextmanager
async def present(database: Database) -> AsyncIterator[asyncio.Task[None]]:
    """The process of these connections is seen to live; cancel the task and it is seen to die."""
    holding = asyncio.create_task(presence.hold(database))
    await eventually(lambda: database.presence is not None)
    yield holding
    holding.cancel()
    await asyncio.wait([holding])


async def test_a_living_process_keeps_its_key(
    database: Database, database_url: str, key: str
) -> None:
    """Another process is refused, and so is a second request of the same."""
    other = Database(database_url)
    async with present(database), present(other):
        await take(database, key)
        for each in (database, other):
            with pytest.raises(Conflict, match="still running"):
                await begin(each, SCOPE, key, CONTENT)
    await other.close()


async def test_the_key_of_a_process_that_died_is_free_at_once(
    database: Database, database_url: str, key: str
) -> None:
    """For the same content, and whatever the clock says; the dead run can no longer commit."""
    dead = Database(database_url)
    async with present(dead) as holding:
        ticket = await take(dead, key)
        await age(dead, key, "locked_at", -3600)
        ticket = Ticket(dead, SCOPE, key, ticket.locked_at + timedelta(hours=1))
        holding.cancel()
    await eventually(lambda: _is_free(database, key))
    with pytest.raises(Conflict, match="taken over"):
        async with dead.session() as session:
            await ticket.complete(session, *ANSWER)
    await dead.close()


async def _is_free(database: Database, key: str) -> bool:
    with pytest.raises(Invalid):
        await begin(database, SCOPE, key, fingerprint("another"))
    try:
        return isinstance(await begin(database, SCOPE, key, CONTENT), Ticket)
    except Conflict:
        return False


async def test_a_lost_presence_is_found_again(database: Database, key: str) -> None:
    """After the database has ended its connection a process has the lock that it had."""
    async with present(database):
        number = database.presence
        await database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'atelier presence' AND datname = current_database()"
        )
        await eventually(lambda: database.presence is None)
        await eventually(lambda: database.presence == number)
        await take(database, key)
        with pytest.raises(Conflict, match="still running"):
            await begin(database, SCOPE, key, CONTENT)


KILLED = """
import asyncio, sys
from sqlalchemy import text
from atelier.database import Database
from atelier.http.idempotency import begin

async def main(url, scope, key, content, when):
    database = Database(url)
    ticket = await begin(database, scope, key, bytes.fromhex(content))
    async with database.session() as session:
        await session.execute(text(
            "INSERT INTO users (email, email_folded, password_hash, sequence, created_at)"
            " VALUES (:e, :e, '', 1, now())"), {"e": key})
        await ticket.complete(session, 201, {}, b"{}")
        if when == "after":
            await session.commit()
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("when", "rows"), [("before", 0), ("after", 1)])
async def test_kill_around_the_commit_leaves_both_or_neither(
    database: Database, database_url: str, key: str, when: str, rows: int
) -> None:
    """A kill -9 before the commit leaves a lock that lapses; after it, the answer is replayed."""
    arguments = [sys.executable, "-c", KILLED, database_url, SCOPE, key, CONTENT.hex(), when]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    assert await made(database, key) == rows
    if rows:
        assert isinstance(await begin(database, SCOPE, key, CONTENT), Replay)
        return
    with pytest.raises(Conflict):
        await begin(database, SCOPE, key, CONTENT)
    await age(database, key, "locked_at", LOCK.total_seconds() + 1)
    assert isinstance(await begin(database, SCOPE, key, CONTENT), Ticket)


async def test_an_expired_answer_is_not_replayed(database: Database, key: str) -> None:
    """After its hours a key is free again, for any content."""
    await run(database, key, key)
    await age(database, key, "created_at", 2 * 3600 + 1)
    assert isinstance(await begin(database, SCOPE, key, CONTENT, hours=3), Replay)
    assert isinstance(await begin(database, SCOPE, key, fingerprint("another"), hours=2), Ticket)


async def test_purge_removes_what_expired(database: Database) -> None:
    """And nothing younger."""
    for name, hours in (("old", 25), ("older", 99), ("young", 23)):
        await take(database, name)
        await age(database, name, "created_at", hours * 3600)
    assert await idempotency_keys.purge(database, 24) == 2
    assert [row["key"] for row in await database.fetch("SELECT key FROM idempotency_keys")] == [
        "young"
    ]


async def test_purge_goes_on_beyond_one_batch(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many have expired, all of them go."""
    monkeypatch.setattr(idempotency_keys, "PURGE_ROWS", 2)
    for name in "abcde":
        await take(database, name)
        await age(database, name, "created_at", 90_000)
    assert await idempotency_keys.purge(database, 24) == 5


async def test_forget_deletes_the_keys_of_one_user(database: Database) -> None:
    """Their answers may hold personal data; those of others, whose ids may begin alike, stay."""
    scopes = [
        scope(7, "POST /a"),
        scope(7, "POST /b"),
        scope(77, "POST /a"),
        scope(None, "POST /a"),
    ]
    for each in scopes:
        await begin(database, each, "k", CONTENT)
    async with database.session() as session:
        await idempotency.forget(session, 7)
        await session.commit()
    left = await database.fetch("SELECT scope FROM idempotency_keys ORDER BY scope")
    assert [row["scope"] for row in left] == sorted(scopes[2:])


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=4))
def test_the_order_of_fields_does_not_count(fields: dict[str, Any]) -> None:
    """The same values in another order have the same fingerprint."""
    fields = {
        name: value
        for name, value in fields.items()
        if not isinstance(value, int) or abs(value) < 2**63
    }
    assert fingerprint(fields) == fingerprint(dict(reversed(fields.items())))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("ab", "c"), ("a", "bc")),
        ((1,), ("1",)),
        ((None,), ("",)),
        (({"a": 1},), ({"a": 2},)),
        ((["a"],), ("a",)),
    ],
)
def test_other_values_have_another_fingerprint(
    left: tuple[Any, ...], right: tuple[Any, ...]
) -> None:
    """Neither boundaries nor types are lost."""
    assert fingerprint(*left) != fingerprint(*right)


class Shop:
    """A small application with one POST, and what happened in it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = 0
        self.fail = False
        self.finishing = asyncio.Event()
        self.finishing.set()
        self.app = FastAPI()
        self.app.post("/orders")(self.order)

    async def order(
        self, item: str, name: Annotated[str, Depends(lambda: "orders")], key: Key = None
    ) -> Response:
        """Make a row once per key."""
        async with once(
            self.database, scope(1, f"POST /{name}"), key, fingerprint(item)
        ) as running:
            if running.replay:
                return running.replay
            self.runs += 1
            await self.finishing.wait()
            async with self.database.session() as session:
                await make(session, f"{item}-{self.runs}")
                if self.fail:
                    raise RuntimeError("no paper")
                await running.keep(
                    session,
                    Response(b"{}", 201, {"Location": f"/orders/{self.runs}"}, "application/json"),
                )
                await session.commit()
            return running.answer

    def client(self) -> httpx2.AsyncClient:
        """Calls it."""
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.fixture
async def shop(database: Database) -> Shop:
    return Shop(database)


async def test_a_repeated_post_is_answered_and_not_done_again(shop: Shop, key: str) -> None:
    """The replay is marked as such and otherwise equal."""
    async with shop.client() as client:
        first, second = [
            await client.post("/orders", params={"item": key}, headers={"Idempotency-Key": key})
            for _ in range(2)
        ]
    assert shop.runs == 1
    assert (
        (first.status_code, first.content) == (second.status_code, second.content) == (201, b"{}")
    )
    assert "idempotent-replayed" not in first.headers
    assert dict(second.headers) == dict(first.headers) | {"idempotent-replayed": "true"}


async def test_without_a_key_each_post_is_done(shop: Shop, key: str) -> None:
    """Nothing is guessed from equal bodies."""
    async with shop.client() as client:
        for _ in range(2):
            assert (await client.post("/orders", params={"item": key})).status_code == 201
    assert shop.runs == 2


async def test_a_failed_post_is_done_again(shop: Shop, key: str) -> None:
    """A 500 is not what the client wants to hear for a day."""
    shop.fail = True
    async with shop.client() as client:
        request = {"params": {"item": key}, "headers": {"Idempotency-Key": key}}
        assert (await client.post("/orders", **request)).status_code == 500
        shop.fail = False
        assert (await client.post("/orders", **request)).status_code == 201
    assert shop.runs == 2


async def test_a_cancelled_post_gives_its_key_back(shop: Shop, key: str) -> None:
    """A server that cancels a handler does not leave its client waiting for the lock."""
    shop.finishing.clear()
    ordering = asyncio.create_task(shop.order(key, "orders", key))
    await eventually(lambda: shop.runs)
    ordering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ordering
    shop.finishing.set()
    assert (await shop.order(key, "orders", key)).status_code == 201


@pytest.mark.parametrize("bad", ["", "a b", "x" * 256, "ключ".encode(), b"\x7f", b"a\tb"])
async def test_a_key_outside_the_limits_is_refused(shop: Shop, bad: str | bytes) -> None:
    """1 to 255 visible ASCII characters."""
    async with shop.client() as client:
        answer = await client.post(
            "/orders", params={"item": "x"}, headers={"Idempotency-Key": bad}
        )
    assert answer.status_code == 422
    assert shop.runs == 0


@pytest.mark.parametrize("good", ["x", "x" * 255, '"quoted-as-in-the-draft"', "!~"])
async def test_a_key_at_the_limits_is_taken(shop: Shop, good: str) -> None:
    """The edges belong to it."""
    async with shop.client() as client:
        request = {"params": {"item": str(uuid.uuid4())}, "headers": {"Idempotency-Key": good}}
        assert (await client.post("/orders", **request)).status_code == 201


async def work_within(database: Database, key: str, email: str, content: bytes = CONTENT) -> bytes:
    """A run inside one transaction with its effect, or the replay of an earlier one.

    The answer's body.
    """
    async with database.session() as session:
        run = await idempotency.within(database, session, SCOPE, key, content)
        if run.replay:
            return bytes(run.replay.body)
        await make(session, email)
        await run.keep(session, Response(email.encode(), 201))
        await session.commit()
        return email.encode()


async def test_within_one_transaction_the_second_waits_and_replays(
    database: Database, key: str
) -> None:
    """Of ten at once under one key one does the work.

    The others get its very answer, and none a conflict.
    """
    emails = [f"{key}-{number}" for number in range(10)]
    answers = await asyncio.gather(*(work_within(database, key, email) for email in emails))
    assert len(set(answers)) == 1
    assert [await made(database, email) for email in emails].count(1) == 1
    with pytest.raises(Invalid):
        await work_within(database, key, "other", fingerprint("other content"))


async def test_within_a_transaction_that_fails_nothing_is_kept(
    database: Database, key: str
) -> None:
    """The next with the key does the work at once: key and effect went with the transaction."""
    async with database.session() as session:
        await idempotency.within(database, session, SCOPE, key, CONTENT)
        await make(session, f"{key}-lost")
    assert await work_within(database, key, f"{key}-kept") == f"{key}-kept".encode()
    assert await made(database, f"{key}-lost") == 0
