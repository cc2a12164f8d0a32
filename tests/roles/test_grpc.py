"""`atelier grpc` as processes that are killed while books change, several on one port."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import httpx2
import pytest
from pydantic import SecretStr

from atelier.roles import api, relay
from atelier.settings import Settings
from tests.books.support import SECRET, add, sign_in
from tests.ports import free_port
from tests.rpc.support import Books, channel_to, refused
from tests.waiting import eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from atelier.proto.books.v1 import books_pb2 as pb

CHANGES = 120  # made over HTTP while the process is killed
KILLS = 3
CATALOGUE = 100_000
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    "current_database()"
)
EVENT = re.compile(r"event (book\.\w+) (books/\d+) #(\d+) (\S+)")
FILL = """
    INSERT INTO books (title, author, publication_date, title_folded, author_folded, sequence)
    SELECT 'Title ' || n, 'Author ' || n % 1000, date '1800-01-01' + n % 80000, 'title ' || n,
      'author ' || n % 1000, 1
    FROM generate_series(1, $1) AS n
"""


@pytest.fixture
def settings(tmp_path: Path, fresh_database_url: str, redis_url: str, redis: Redis) -> Settings:
    """An instance of its own, its database empty."""
    return Settings(
        data=tmp_path,
        database_url=fresh_database_url,
        redis_url=redis_url,
        secret=SECRET,
        grpc_port=free_port(),
    )


class Process:
    """`atelier grpc` as a child of the test."""

    def __init__(self, settings: Settings, output: Path, **more: str) -> None:
        self.output = output
        values = settings.model_dump(
            include={"data", "database_url", "redis_url", "secret", "grpc_port"}
        )
        words = {
            k: v.get_secret_value() if isinstance(v, SecretStr) else str(v)
            for k, v in values.items()
        }
        self._environment = os.environ | {
            f"ATELIER_{name.upper()}": value for name, value in (words | more).items()
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> Process:
        """Start it; what it says is appended to its output."""
        with self.output.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "atelier",
                "grpc",
                stdout=output,
                stderr=output,
                env=self._environment,
            )
        return self

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; the exit code."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with patience():
            return await self.process.wait()

    def memory(self) -> int:
        """Resident bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def events(self) -> list[tuple[str, str, int, str]]:
        """The events that it logged."""
        return [(t, s, int(n), i) for t, s, n, i in EVENT.findall(self.output.read_text())]


@asynccontextmanager
async def running(settings: Settings, count: int = 1, **more: str) -> AsyncIterator[list[Process]]:
    """Some processes, killed at the end."""
    made = [
        await Process(settings, settings.data / f"out{n}.log", **more).start()
        for n in range(count)
    ]
    try:
        yield made
    finally:
        for process in made:
            await process.end(signal.SIGKILL)


@pytest.fixture
async def ada(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A signed-in user of the API, with the relay at work."""
    stop = asyncio.Event()
    relaying = asyncio.create_task(relay.run(settings, stop))
    app = api.build(settings)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://localhost"
        ) as client,
    ):
        client.headers["Authorization"] = await sign_in(url_of(settings))
        yield client
    stop.set()
    await relaying


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database."""
    connection = await asyncpg.connect(url_of(settings))
    yield connection
    await connection.close()


async def rest(stream: Any) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


def url_of(settings: Settings) -> str:
    """The database's URL."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


async def change(ada: httpx2.AsyncClient, number: int, books: dict[int, dict[str, Any]]) -> None:
    """Add, change or remove a book, and remember what is there."""
    if number % 3 == 0 or not books:
        book = await add(ada, title=f"Book {number}")
        books[book["id"]] = book
        return
    book_id = list(books)[number % len(books)]
    if number % 3 == 1:
        answer = await ada.patch(f"/api/books/{book_id}", json={"title": f"Edition {number}"})
        books[book_id] = answer.json()
    else:
        assert (await ada.delete(f"/api/books/{book_id}")).status_code == 204
        del books[book_id]


async def watched(port: int, authorization: str, until: asyncio.Event, seen: list[Any]) -> None:
    """Watch, reconnecting at the last position, until an event that comes after that change."""
    after = 0
    async with channel_to(
        port, initial_reconnect_backoff_ms=100, max_reconnect_backoff_ms=200
    ) as channel:
        books = Books(channel, authorization)
        while True:
            try:
                async for answer in books.watch(after, wait_for_ready=True):
                    after = answer.sequence
                    if answer.HasField("change"):
                        seen.append((answer.sequence, answer.change))
                    if until.is_set() and answer.change.book.title == "The End":
                        return
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


async def log_of(settings: Settings) -> list[tuple[int, str]]:
    """Position and id of every event about books, in order."""
    async with connected(settings) as connection:
        rows = await connection.fetch(
            "SELECT position, event_id FROM outbox WHERE type LIKE 'book.%' ORDER BY position"
        )
    return [(row["position"], str(row["event_id"])) for row in rows]


async def listed(books: Books) -> list[pb.Book]:
    """The whole catalogue, page by page."""
    found: list[pb.Book] = []
    token = ""
    while True:
        page = await books.page(page_size=1000, page_token=token)
        found += page.books
        token = page.next_page_token
        if not token:
            return found


async def first_page(books: Books, **request: Any) -> pb.ListBooksResponse:
    """A page from a process that has just started and may not have read the log yet."""
    async with patience():
        while True:
            try:
                return await books.page(**request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.1)


async def churn(
    process: Process, ada: httpx2.AsyncClient, seen: list[Any]
) -> dict[int, dict[str, Any]]:
    """Change books over HTTP and kill the process in the middle of it, again and again.

    The books that are left.
    """
    present: dict[int, dict[str, Any]] = {}
    for number in range(CHANGES):
        await change(ada, number, present)
        if number % (CHANGES // KILLS) == 0:
            await eventually(lambda number=number: len(seen) > number)  # until it serves again
        elif number % (CHANGES // KILLS) == CHANGES // KILLS // 2:
            await process.end(signal.SIGKILL)
            await process.start()
    return present


async def test_a_watch_survives_kills_without_gap_or_repeat(
    settings: Settings, ada: httpx2.AsyncClient
) -> None:
    """While books change and the process is killed repeatedly, each change is seen once in order.

    In the end HTTP and gRPC show the same catalogue.
    """
    seen: list[Any] = []
    done = asyncio.Event()
    authorization = ada.headers["Authorization"]
    async with running(settings) as (process,):
        watching = asyncio.create_task(watched(settings.grpc_port, authorization, done, seen))
        present = await churn(process, ada, seen)
        done.set()
        last = await add(ada, title="The End")
        async with patience():
            await watching
        assert [(position, change_.event_id) for position, change_ in seen] == await log_of(
            settings
        )
        async with channel_to(settings.grpc_port) as channel:
            books = Books(channel, authorization)
            everything = await listed(books)
            assert [book.id for book in everything] == sorted([*present, last["id"]], reverse=True)
            for book in everything[1:]:
                assert present[book.id]["title"] == book.title == (await books.get(book.id)).title


@pytest.mark.slow
async def test_what_a_killed_process_held_is_logged_by_the_next(
    settings: Settings, ada: httpx2.AsyncClient
) -> None:
    """Events in progress at a kill come again after the bus's lease, and each is logged."""
    seen: list[Any] = []
    async with running(settings) as (process,):
        watching = asyncio.create_task(
            watched(settings.grpc_port, ada.headers["Authorization"], asyncio.Event(), seen)
        )
        await churn(process, ada, seen)

        async def all_are_logged() -> bool:
            wanted = {event_id for _, event_id in await log_of(settings)}
            return {event[3] for event in process.events()} == wanted

        await eventually(all_are_logged)
        watching.cancel()
        await asyncio.wait({watching})


async def test_every_event_is_logged_once(settings: Settings, ada: httpx2.AsyncClient) -> None:
    """Two processes on one port share the events, on the console and in the file.

    Each is logged by one of them.
    """
    async with running(settings, 2, grpc_workers="2") as processes:
        for _ in range(2):
            async with channel_to(settings.grpc_port):
                pass
        present: dict[int, dict[str, Any]] = {}
        for number in range(30):
            await change(ada, number, present)
        await eventually(lambda: sum(len(process.events()) for process in processes) >= 30)
        await asyncio.sleep(0.3)  # in which one that is logged a second time would come
        logged = [event for process in processes for event in process.events()]

        async def whole_log() -> list[tuple[int, str]] | None:
            found = await log_of(settings)
            return found if len(found) >= 30 and found[-1][0] is not None else None

        wanted = await eventually(whole_log)
        assert sorted(event[3] for event in logged) == sorted(event_id for _, event_id in wanted)
        file = (settings.data / "logs" / "grpc.log").read_text()
        assert sorted(EVENT.findall(file)) == sorted((t, s, str(n), i) for t, s, n, i in logged)
        assert SECRET not in file
        assert ada.headers["Authorization"].split()[1] not in file


async def test_several_processes_share_one_port(settings: Settings) -> None:
    """With the setting, connections spread over the processes, and one's end spares the others."""
    authorization = await sign_in(url_of(settings))
    async with running(settings, 2, grpc_workers="2") as processes:
        for _ in range(20):
            async with channel_to(settings.grpc_port) as channel:
                await first_page(Books(channel, authorization))
        assert await processes[0].end(signal.SIGTERM) == 0
        for _ in range(5):
            async with channel_to(settings.grpc_port) as channel:
                await Books(channel, authorization).page()


async def test_a_stopped_process_drains(settings: Settings) -> None:
    """On SIGTERM running calls are answered, watches are told to reconnect; the exit code is 0."""
    authorization = await sign_in(url_of(settings))
    async with running(settings) as (process,), channel_to(settings.grpc_port) as channel:
        books = Books(channel, authorization)
        await first_page(books)
        stream = aiter(books.watch(0))
        await anext(stream)
        async with connected(settings) as connection, connection.transaction():
            await connection.execute("LOCK TABLE books")
            call = asyncio.ensure_future(books.page())
            await eventually(partial(connection.fetchval, WAITING))
            ending = asyncio.ensure_future(process.end(signal.SIGTERM))
            with refused(grpc.StatusCode.UNAVAILABLE):
                await rest(stream)
        assert (await call).next_page_token == ""
        assert await ending == 0


async def test_a_hundred_thousand_books_are_listed_in_flat_memory(settings: Settings) -> None:
    """The whole catalogue in pages of 1,000 has each book once and needs little memory."""
    async with connected(settings) as connection:
        await connection.execute(FILL.replace("$1", str(CATALOGUE)))
    authorization = await sign_in(url_of(settings))
    async with running(settings) as (process,), channel_to(settings.grpc_port) as channel:
        books = Books(channel, authorization)
        for _ in range(3):
            await first_page(books, page_size=1000)
        before, size, ids, token = process.memory(), 0, set[int](), ""
        while True:
            page = await books.page(page_size=1000, page_token=token)
            ids.update(book.id for book in page.books)
            size += page.ByteSize()
            token = page.next_page_token
            if not token:
                break
        assert len(ids) == CATALOGUE
        assert process.memory() - before < max(size // 10, 4 * 1024 * 1024)
