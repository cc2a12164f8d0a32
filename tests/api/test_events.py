"""The log over HTTP: who sees what, in which order, from where, and until when."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest

from atelier.auth import Role
from atelier.database import ERRORS
from atelier.events import fanout
from atelier.http import event_stream
from atelier.http.credentials import COOKIE
from atelier.observe.metrics import EVENT_STREAMS, EVENT_STREAMS_ENDED
from tests.api.people import is_problem, sign_up
from tests.api.sse import STREAM, send, streaming
from tests.api.teams import MEMBER, SPACE, World
from tests.api.test_rights import cookie_of, make_key
from tests.waiting import eventually

if TYPE_CHECKING:
    from fastapi import FastAPI

    from atelier.database import Database
    from atelier.http.resources import Resources
    from tests.api.people import Person

JSON = {"Accept": "application/json"}
NOBODY = 2**40
ADD = """
    INSERT INTO outbox (type, subject, sequence, data, space_id)
    VALUES ($1, $2, (SELECT count(*) + 1 FROM outbox WHERE subject = $2), $3, $4)
"""
numbers = itertools.count(10_000_000)


@pytest.fixture
def resources(app: FastAPI) -> Resources:
    """The application's resources."""
    found: Resources = app.state.resources
    return found


@pytest.fixture
async def database(resources: Resources, bob: Person) -> Database:
    """Its database, with everything sent that others had announced."""
    await send(resources.database)
    return resources.database


@pytest.fixture
def world(app: FastAPI, client: httpx2.AsyncClient, database_url: str) -> World:
    """The application of this module."""
    return World(app, client, database_url)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look at their rights at every opportunity."""
    monkeypatch.setattr(event_stream, "CHECK_SECONDS", 0.05)


async def happen(
    database: Database, type_: str, subject: str, space: int | None, data: str = "{}"
) -> int:
    """Have something happen; its position."""
    await database.fetch(ADD, type_, subject, data, space)
    return await send(database)


def image() -> str:
    """The subject of a new picture."""
    return f"images/{next(numbers)}"


async def page(
    client: httpx2.AsyncClient, person: Person, **query: str | int
) -> tuple[list[dict[str, Any]], int]:
    """A page of events, and its position."""
    answer = await client.get("/api/events", params=query, headers=JSON | person.headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["events"], found["position"]


async def test_events_come_live_in_order_with_their_positions(
    client: httpx2.AsyncClient, database: Database, bob: Person
) -> None:
    """As plain messages whose data are CloudEvents, in an answer that no proxy holds back."""
    async with streaming(client, bob.headers) as stream:
        headers = stream.answer.headers
        assert headers["content-type"] == STREAM
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        subjects = [image() for _ in range(3)]
        sent = [await happen(database, "image.created", each, bob.id) for each in subjects]
        found = [await stream.event() for _ in subjects]
    assert [each.id for each in found] == sent
    assert [each.data["subject"] for each in found] == subjects
    assert {each.event for each in found} == {"message"}
    assert (found[0].data["specversion"], found[0].data["space"]) == ("1.0", bob.id)


async def test_a_stream_resumes_without_a_gap_or_a_repeat(
    client: httpx2.AsyncClient, database: Database, bob: Person
) -> None:
    """From `Last-Event-ID`, which wins over `after`; also from the position at which it opened."""
    async with streaming(client, bob.headers) as stream:
        opened = stream.last_id
    subjects = [image() for _ in range(5)]
    for subject in subjects:
        await happen(database, "image.created", subject, bob.id)
        await happen(database, "image.created", image(), NOBODY)
    async with streaming(client, bob.headers, opened) as stream:
        assert await stream.events(2) == [f"{each} image.created" for each in subjects[:2]]
        half = stream.last_id
    async with streaming(client, bob.headers, half, after=0) as stream:
        assert await stream.events(3) == [f"{each} image.created" for each in subjects[2:]]
        last = image()
        await happen(database, "image.created", last, bob.id)
        assert await stream.events(1) == [f"{last} image.created"]


async def test_everybody_sees_their_part(
    client: httpx2.AsyncClient, database: Database, bob: Person, world: World
) -> None:
    """Their spaces', books, and their own account; of old events the owner's; nothing unknown."""
    eve = await sign_up(client)
    team = world.execute(SPACE)
    world.execute(MEMBER, team, bob.id, Role.VIEWER)
    start = await send(database)
    theirs, hers, old, shared = image(), image(), image(), f"books/{next(numbers)}"
    member = '{"user_id": 1}'
    for type_, subject, space, data in (
        ("image.created", theirs, team, "{}"),
        ("image.created", hers, eve.id, "{}"),
        ("image.created", old, None, f'{{"owner_id": {bob.id}}}'),
        ("book.created", shared, None, "{}"),
        ("user.deleted", f"users/{bob.id}", None, "{}"),
        ("user.deleted", f"users/{eve.id}", None, "{}"),
        ("member.added", f"spaces/{team}", team, member),
        ("invitation.created", f"spaces/{team}", team, "{}"),
        ("space.updated", f"spaces/{team}", team, "{}"),
        ("marvel.created", f"marvels/{next(numbers)}", bob.id, "{}"),
    ):
        await happen(database, type_, subject, space, data)
    wanted = [
        f"{theirs} image.created",
        f"{old} image.created",
        f"{shared} book.created",
        f"users/{bob.id} user.deleted",
        f"spaces/{team} member.added",
        f"spaces/{team} space.updated",
    ]
    found, _ = await page(client, bob, after=start, limit=500)
    assert [f"{each['subject']} {each['type']}" for each in found] == wanted
    async with streaming(client, bob.headers, start) as stream:
        assert await stream.events(len(wanted)) == wanted
        for type_, subject, space in (
            ("image.created", hers, eve.id),
            ("user.created", f"users/{eve.id}", None),
            ("image.created", theirs, team),
        ):
            await happen(database, type_, subject, space)
        assert await stream.events(1) == [f"{theirs} image.created"]


async def test_a_key_sees_its_space_by_its_rights(
    client: httpx2.AsyncClient, database: Database, bob: Person
) -> None:
    """Neither what it has no right for, nor members, nor the account of its maker."""
    key = await make_key(client, bob, "images:read")
    start = await send(database)
    seen = image()
    for type_, subject, space in (
        ("task.created", f"tasks/{next(numbers)}", bob.id),
        ("book.created", f"books/{next(numbers)}", None),
        ("user.deleted", f"users/{bob.id}", None),
        ("member.added", f"spaces/{bob.id}", bob.id),
        ("image.created", seen, bob.id),
    ):
        await happen(database, type_, subject, space)
    headers = {"Authorization": f"Bearer {key['key']}"}
    async with streaming(client, headers, start) as stream:
        assert await stream.events(1) == [f"{seen} image.created"]


async def test_filters_narrow_it(
    client: httpx2.AsyncClient, database: Database, bob: Person, world: World
) -> None:
    """To a space, a thing, a type or a family."""
    team = world.execute(SPACE)
    world.execute(MEMBER, team, bob.id, Role.VIEWER)
    start = await send(database)
    one, other = image(), image()
    for type_, subject, space in (
        ("image.created", one, bob.id),
        ("image.created", other, team),
        ("image.deleted", one, bob.id),
        ("book.created", f"books/{next(numbers)}", None),
        ("task.created", f"tasks/{one.partition('/')[2]}", bob.id),
    ):
        await happen(database, type_, subject, space)
    for query, wanted in (
        ({"space": team}, [f"{other} image.created"]),
        ({"subject": one}, [f"{one} image.created", f"{one} image.deleted"]),
        ({"type": "image.deleted"}, [f"{one} image.deleted"]),
        ({"type": "image.*", "space": bob.id}, [f"{one} image.created", f"{one} image.deleted"]),
    ):
        found, _ = await page(client, bob, after=start, **query)
        assert [f"{each['subject']} {each['type']}" for each in found] == wanted, query
        async with streaming(client, bob.headers, start, **query) as stream:
            assert await stream.events(len(wanted)) == wanted, query


@pytest.mark.parametrize("accept", [STREAM, "application/json"])
async def test_a_strangers_space_does_not_exist(
    client: httpx2.AsyncClient, bob: Person, accept: str
) -> None:
    """404 as for one that nobody has."""
    eve = await sign_up(client)
    headers = bob.headers | {"Accept": accept}
    answers = [
        await client.get(f"/api/events?space={space}", headers=headers)
        for space in (eve.id, NOBODY)
    ]
    assert all(is_problem(answer, 404) for answer in answers)
    assert answers[0].json() == answers[1].json()


async def test_a_history_is_of_one_thing(
    client: httpx2.AsyncClient, database: Database, bob: Person
) -> None:
    """Oldest first, in pages; to a stranger it is that of a thing which never was."""
    eve, subject = await sign_up(client), image()
    for type_ in ("image.created", "image.updated", "image.deleted"):
        await happen(database, type_, subject, bob.id)
    found, position = await page(client, bob, subject=subject, limit=2)
    assert [each["sequence"] for each in found] == [1, 2]
    found, _ = await page(client, bob, subject=subject, limit=2, after=position)
    assert [each["type"] for each in found] == ["image.deleted"]
    for asked in (subject, f"users/{bob.id}"):
        hidden = await page(client, eve, subject=asked, limit=1)
        assert hidden == await page(client, eve, subject=f"images/{NOBODY}", limit=1)
        assert hidden[0] == []


async def test_pages_move_on_over_what_is_not_shown(
    client: httpx2.AsyncClient,
    database: Database,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each looks at so many positions at most; without a position it says where the log is."""
    monkeypatch.setattr("atelier.events.visible.SCAN", 3)
    (nothing, start), seen = await page(client, bob), image()
    assert nothing == []
    for _ in range(4):
        await happen(database, "image.created", image(), NOBODY)
    end = await happen(database, "image.created", seen, bob.id)
    assert await page(client, bob, after=start) == ([], start + 3)
    found, position = await page(client, bob, after=start + 3)
    assert ([each["subject"] for each in found], position) == ([seen], end)
    assert await page(client, bob, after=end) == ([], end)


async def test_what_the_log_does_not_hold_is_gone(
    client: httpx2.AsyncClient, database: Database, bob: Person
) -> None:
    """A page is refused, a stream is told and goes on from the end of the log."""
    for step, slug in ((-2, "log-pruned"), (1, "log-ahead")):
        for _ in range(3):
            last = await happen(database, "image.created", image(), bob.id)
        await database.fetch("DELETE FROM outbox WHERE position < $1", last)
        after = last + step
        answer = await client.get(f"/api/events?after={after}", headers=JSON | bob.headers)
        assert is_problem(answer, 410)
        assert answer.json()["type"].endswith(slug)
        async with streaming(client, bob.headers, after) as stream:
            told = await stream.event()
            assert (told.event, told.id, told.data) == ("reset", last, {"position": last})
            seen = image()
            await happen(database, "image.created", seen, bob.id)
            assert await stream.events(1) == [f"{seen} image.created"]


@pytest.mark.usefixtures("often")
class TestTheEnd:
    """Of a stream whose reader loses what it showed."""

    async def test_of_a_session(
        self, client: httpx2.AsyncClient, database: Database, bob: Person, world: World
    ) -> None:
        """Also where this process is not told of it: what it remembers does not count."""
        async with streaming(client, bob.headers) as stream:
            with psycopg.connect(world.database_url) as connection:
                connection.execute("DELETE FROM refresh_families WHERE user_id = %s", [bob.id])
            await stream.rest()
        world.app.state.resources.authenticator.clear()
        assert is_problem(await client.get("/api/events", headers=bob.headers), 401)

    async def test_of_a_browsers_session(
        self, client: httpx2.AsyncClient, database: Database, bob: Person
    ) -> None:
        """A cookie is good for a stream until it signs out."""
        cookie = {"Cookie": await cookie_of(client, bob)}
        assert cookie["Cookie"].startswith(COOKIE)
        async with streaming(client, cookie) as stream:
            subject = image()
            await happen(database, "image.created", subject, bob.id)
            assert await stream.events(1) == [f"{subject} image.created"]
            ours = cookie | {"Sec-Fetch-Site": "same-origin"}
            assert (await client.delete("/api/session", headers=ours)).status_code == 204
            await stream.rest()

    async def test_of_a_key(
        self, client: httpx2.AsyncClient, database: Database, bob: Person
    ) -> None:
        """Once it is deleted."""
        key = await make_key(client, bob, "images:read")
        async with streaming(client, {"Authorization": f"Bearer {key['key']}"}) as stream:
            path = f"/api/keys/{key['id']}"
            assert (await client.delete(path, headers=bob.headers)).status_code == 204
            await stream.rest()

    async def test_of_a_membership(
        self, client: httpx2.AsyncClient, database: Database, bob: Person, world: World
    ) -> None:
        """And then the space is a stranger's."""
        team = world.execute(SPACE)
        world.execute(MEMBER, team, bob.id, Role.VIEWER)
        async with streaming(client, bob.headers, space=team) as stream:
            world.execute("DELETE FROM members WHERE space_id = %s", team)
            await stream.rest()
        answer = await client.get(f"/api/events?space={team}", headers=bob.headers)
        assert is_problem(answer, 404)


async def test_nothing_of_a_lost_space_is_shown(
    client: httpx2.AsyncClient, database: Database, bob: Person, world: World
) -> None:
    """The event that tells of the loss is heeded at once, by the log alone."""
    team = world.execute(SPACE)
    world.execute(MEMBER, team, bob.id, Role.VIEWER)
    async with streaming(client, bob.headers) as stream:
        with psycopg.connect(world.database_url) as connection:
            connection.execute("DELETE FROM members WHERE space_id = %s", [team])
        data = f'{{"user_id": {bob.id}}}'
        await database.fetch(ADD, "member.removed", f"spaces/{team}", data, team)
        await happen(database, "image.created", image(), team)
        assert [block.data for block in await stream.rest() if block.data] == []


async def test_a_new_space_is_shown_from_its_beginning(
    client: httpx2.AsyncClient, database: Database, bob: Person, world: World
) -> None:
    """Who becomes a member sees that, and everything after it, in the stream that is open."""
    team, first, second = world.execute(SPACE), image(), image()
    async with streaming(client, bob.headers) as stream:
        await happen(database, "image.created", image(), team)
        with psycopg.connect(world.database_url) as connection:
            connection.execute(MEMBER, [team, bob.id, Role.VIEWER])
        data = f'{{"user_id": {bob.id}}}'
        await database.fetch(ADD, "member.added", f"spaces/{team}", data, team)
        await database.fetch(ADD, "image.created", first, "{}", team)
        await happen(database, "image.created", second, bob.id)
        assert await stream.events(3) == [
            f"spaces/{team} member.added",
            f"{first} image.created",
            f"{second} image.created",
        ]


async def test_a_quiet_stream_says_that_it_lives_and_where_it_is(
    client: httpx2.AsyncClient,
    database: Database,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By comments, which carry the position on when others' events have moved it."""
    monkeypatch.setattr(event_stream, "COMMENT_SECONDS", 0.05)
    async with streaming(client, bob.headers) as stream:
        block = await stream.block()
        assert (block.comment, block.data) == (True, None)
        last = await happen(database, "image.created", image(), NOBODY)
        while stream.last_id != last:
            block = await stream.block()
            assert (block.comment, block.data) == (True, None)


async def test_many_streams_get_the_same(
    client: httpx2.AsyncClient, database: Database, resources: Resources, bob: Person
) -> None:
    """Fifty streams of several people in one process, each event once for each."""
    people = [await sign_up(client) for _ in range(5)]
    await send(database)

    async def hear(person: Person) -> list[str]:
        async with streaming(wide, person.headers) as stream:
            return await stream.events(20)

    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=client.base_url, limits=limits) as wide:
        hearing = [asyncio.create_task(hear(person)) for person in people * 10]
        await eventually(lambda: resources.streams.fanout.readers == 50)
        books = [f"books/{next(numbers)}" for _ in range(20)]
        for book in books:
            await happen(database, "book.created", book, None)
        wanted = [f"{book} book.created" for book in books]
        assert all(found == wanted for found in await asyncio.gather(*hearing))
    await eventually(lambda: resources.streams.fanout.readers == 0)


async def test_without_streams_the_log_is_not_read(
    client: httpx2.AsyncClient,
    database: Database,
    resources: Resources,
    bob: Person,
) -> None:
    """The connection that listens is there as long as somebody reads."""
    listening = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
        "AND datname = current_database()"
    )

    async def listeners() -> int:
        return len(await database.fetch(listening))

    before = await listeners()
    async with streaming(client, bob.headers):
        assert await listeners() == before + 1
    await eventually(lambda: _equal(listeners, before))
    assert resources.streams.fanout.readers == EVENT_STREAMS._value.get() == 0


async def _equal(count: Any, wanted: int) -> bool:
    return bool(await count() == wanted)


async def test_one_user_has_so_many_streams(
    client: httpx2.AsyncClient, bob: Person, settings: Any
) -> None:
    """One more is refused, and may come once another has ended."""
    async with asyncio.TaskGroup() as tasks:
        full, done = asyncio.Event(), asyncio.Event()
        opened = itertools.count(1)

        async def hold() -> None:
            async with streaming(client, bob.headers):
                if next(opened) == settings.event_streams:
                    full.set()
                await done.wait()

        for _ in range(settings.event_streams):
            tasks.create_task(hold())
        await full.wait()
        answer = await client.get("/api/events", headers=bob.headers)
        assert is_problem(answer, 429)
        assert answer.headers["retry-after"]
        done.set()
    async with streaming(client, bob.headers):
        pass


def connected(port: int, headers: dict[str, str]) -> socket.socket:
    """A stream of a client that has read its beginning and reads no more."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    client.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\n{''.join(lines)}\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


async def test_a_client_that_does_not_read_is_left(
    client: httpx2.AsyncClient,
    database: Database,
    resources: Resources,
    bob: Person,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its stream ends once it takes nothing, and others have all that happened."""
    monkeypatch.setattr(event_stream, "SEND_SECONDS", 0.2)
    slow = EVENT_STREAMS_ENDED.labels(event_stream.SLOW)
    before = slow._value.get()
    data = f'{{"text": "{"x" * 100_000}"}}'
    with await asyncio.to_thread(connected, port, bob.headers):
        async with streaming(client, bob.headers) as stream:
            sent = 0
            while slow._value.get() == before:
                await happen(database, "image.created", image(), bob.id, data)
                assert (await stream.event()).data["data"]["text"]
                sent += 1
            assert resources.streams.fanout.readers == 1
    assert sent > 1


async def test_a_reader_that_falls_behind_reads_the_database(
    client: httpx2.AsyncClient,
    database: Database,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More at once than a reader is kept in memory reaches it nevertheless, once and in order."""
    monkeypatch.setattr(fanout, "PENDING", 2)
    async with streaming(client, bob.headers) as stream:
        subjects = [image() for _ in range(50)]
        for subject in subjects:
            await database.fetch(ADD, "image.created", subject, "{}", bob.id)
        await send(database)
        assert await stream.events(50) == [f"{each} image.created" for each in subjects]


async def test_streams_outlive_the_connections_to_the_database(
    client: httpx2.AsyncClient, database: Database, bob: Person, database_url: str
) -> None:
    """When the server ends them all, the stream goes on with what happened meanwhile."""
    async with streaming(client, bob.headers) as stream:
        first, second = image(), image()
        await happen(database, "image.created", first, bob.id)
        assert await stream.events(1) == [f"{first} image.created"]
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database() "
                "AND application_name <> 'atelier presence'"
            )
        await eventually(lambda: _happened(database, second, bob.id))
        assert await stream.events(1) == [f"{second} image.created"]


async def _happened(database: Database, subject: str, space: int) -> bool:
    with suppress(*ERRORS):
        if not await database.fetch("SELECT 1 FROM outbox WHERE subject = $1", subject):
            await database.fetch(ADD, "image.created", subject, "{}", space)
        await send(database)
        return True
    return False


async def test_it_counts_as_answered_when_it_opens(
    client: httpx2.AsyncClient, bob: Person, app: FastAPI
) -> None:
    """The durations of requests do not hold how long a client stayed."""
    labels = {"method": "GET", "route": "/api/events"}
    name = "atelier_http_request_seconds"
    registry = app.state.metrics.registry

    def counted(suffix: str) -> float:
        return registry.get_sample_value(f"{name}_{suffix}", labels) or 0.0

    count, total = counted("count"), counted("sum")
    since = time.monotonic()
    async with streaming(client, bob.headers) as stream:
        opened = time.monotonic() - since
        assert stream.answer.status_code == 200
        await asyncio.sleep(opened)
    await eventually(lambda: counted("count") > count)
    assert counted("sum") - total <= opened


async def test_a_form_that_there_is_not_is_refused(
    client: httpx2.AsyncClient, bob: Person
) -> None:
    """406; HEAD asks what a stream would be, and ends."""
    answer = await client.get("/api/events", headers=bob.headers | {"Accept": "image/png"})
    assert is_problem(answer, 406)
    head = await client.head("/api/events", headers=bob.headers)
    assert (head.status_code, head.headers["content-type"]) == (200, STREAM)
