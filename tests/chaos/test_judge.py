"""Faults that are planted into an instance: the judge finds each of them, and none before."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from redis import Redis

from atelier.database import Database
from atelier.events.messages import new_event_id
from tests.chaos import evidence
from tests.chaos.campaign import Campaign, prepared
from tests.chaos.ledger import Handout, Thing
from tests.chaos.victims import KINDS, victims
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


ENOUGH = 5  # things of each kind


@dataclass
class Scene:
    """A loaded instance that has come to rest."""

    campaign: Campaign
    database: Database
    stack: ExitStack

    async def judged(self) -> list[str]:
        """The faults."""
        return await self.campaign.judged(self.database)

    async def run(self, statement: str) -> Any:
        """Run a statement; its first value."""
        return (await self.database.fetch(statement))[0][0]

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.campaign._instance.data

    def redis(self) -> Redis:
        """A client of the embedded engine."""
        return Redis.from_url(evidence.address(self.campaign._instance, "redis_url"))

    def thing(self, collection: str) -> Thing:
        """One that is there."""
        things = self.campaign.ledger.things.values()
        return next(each for each in things if each.collection == collection and not each.gone)


Plant = Callable[[Scene], Awaitable[str]]
PLANTS: list[Plant] = []


def planted(plant: Plant) -> Plant:
    """Have a fault planted; it returns the words by which it should be found."""
    PLANTS.append(plant)
    return plant


@pytest.fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    """An instance under load for a moment, and at rest since."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="atelier-judge-", ignore_cleanup_errors=True)
        )
        Path(folder).chmod(0o755)
        campaign, database = await stack.enter_async_context(
            prepared(1, print, None, Path(folder))
        )
        ledger = campaign.ledger
        await eventually(lambda: _enough(campaign) and ledger.ended.total() >= ENOUGH)
        await campaign.rest(database)
        yield Scene(campaign, database, stack.enter_context(ExitStack()))


def _enough(campaign: Campaign) -> bool:
    things = campaign.ledger.things.values()
    there = [each.collection for each in things if not each.gone]
    return all(there.count(table) >= ENOUGH for table in evidence.TABLES)


async def test_nothing_is_found_where_nothing_is_wrong(scene: Scene) -> None:
    """And every process of the instance is of a kind that a campaign kills."""
    assert await scene.judged() == []
    process = scene.campaign._instance.process
    assert process is not None
    assert set(victims(process.pid)) == set(KINDS)


@planted
async def a_lost_row(scene: Scene) -> str:
    number = await scene.run(
        "DELETE FROM books WHERE id = (SELECT max(id) FROM books) RETURNING id"
    )
    return f"books/{number} is lost"


@planted
async def a_row_made_twice(scene: Scene) -> str:
    number = await scene.run(
        "INSERT INTO books "
        "(title, author, publication_date, title_folded, author_folded, sequence) "
        "SELECT title, author, publication_date, title_folded, author_folded, 1 "
        "FROM books LIMIT 1 RETURNING id"
    )
    return f"books/{number} was made, but never acknowledged"


@planted
async def a_deletion_undone(scene: Scene) -> str:
    thing = scene.thing("files")
    scene.campaign.ledger.deleted(thing)
    return f"files/{thing.id} is there, though its deletion"


@planted
async def a_change_forgotten(scene: Scene) -> str:
    thing = scene.thing("images")
    scene.campaign.ledger.changed(thing, "what nobody wrote")
    return f"images/{thing.id} is not as it was acknowledged last"


@planted
async def a_picture_that_never_gets_ready(scene: Scene) -> str:
    number = await scene.run(  # the reconciler takes no picture that was offered just now
        "UPDATE images SET status = 'queued', offered_at = now() + interval '1 day' "
        "WHERE id = (SELECT max(id) FROM images) RETURNING id"
    )
    return f"images/{number} is stuck"


@planted
async def a_task_counted_twice(scene: Scene) -> str:
    await scene.run(
        "UPDATE task_totals SET created = created + 1 "
        "WHERE ctid = (SELECT ctid FROM task_totals LIMIT 1) RETURNING created"
    )
    return "total_created says"


@planted
async def a_removed_blob(scene: Scene) -> str:
    key = await scene.run("SELECT blob FROM tasks ORDER BY id LIMIT 1")
    (scene.data / "blobs" / key).unlink()
    return f"blob {key} is missing"


@planted
async def a_changed_blob(scene: Scene) -> str:
    row = (await scene.database.fetch("SELECT id, blob FROM tasks ORDER BY id DESC LIMIT 1"))[0]
    path = scene.data / "blobs" / row["blob"]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    return f"tasks/{row['id']} is served with other bytes"


@planted
async def a_blob_of_nobody(scene: Scene) -> str:
    folder = scene.data / "blobs" / "images" / "zz"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nobody.jpg").write_bytes(b"x")
    return "blob images/zz/nobody.jpg belongs to nothing"


@planted
async def a_forgotten_temporary_file(scene: Scene) -> str:
    (scene.data.parent / "tmp" / "forgotten").write_bytes(b"x")
    return f"file {scene.data.parent / 'tmp' / 'forgotten'} is left over"


@planted
async def a_gap_in_the_positions(scene: Scene) -> str:
    last = await scene.run("SELECT max(position) FROM outbox")
    await scene.run(f"UPDATE outbox SET position = {last + 1} WHERE position = 3 RETURNING id")
    return "the log has a gap in its positions: 4 follows 2"


@planted
async def a_gap_in_a_sequence(scene: Scene) -> str:
    subject = await scene.run(
        "DELETE FROM outbox WHERE type = 'task.taken' AND sequence = 2 AND id = "
        "(SELECT min(id) FROM outbox WHERE type = 'task.taken' AND sequence = 2 "
        "AND subject IN (SELECT subject FROM outbox WHERE sequence = 3)) RETURNING subject"
    )
    return f"the sequence of {subject} is not 1 to"


@planted
async def an_event_that_reached_nobody(scene: Scene) -> str:
    events = scene.campaign.load.subscriber.events
    event = events.pop(next(iter(events)))
    return f"{event.type} of {event.subject} #{event.sequence} never reached the subscriber"


@planted
async def an_event_sent_twice_as_two(scene: Scene) -> str:
    """As a bus would deliver it: the same fact under another id."""
    events = scene.campaign.load.subscriber.events
    first = next(event for event in events.values() if event.subject.startswith("books/"))
    twin = msgspec.structs.replace(first, id=new_event_id())
    with scene.redis() as redis:
        redis.xadd("atelier.events", {"body": twin.to_json()})
    await eventually(lambda: twin.id in events)
    return f"{first.type} of {first.subject} #{first.sequence} reached the subscriber, but never"


@planted
async def a_change_of_a_book_twice(scene: Scene) -> str:
    changes = scene.campaign.load.watcher.changes
    changes.append(changes[0])
    return "WatchBooks gave"


@planted
async def a_task_with_two_takers(scene: Scene) -> str:
    subject = await scene.run("SELECT subject FROM outbox WHERE type = 'task.taken' LIMIT 1")
    number = int(subject.partition("/")[2])
    scene.campaign.ledger.handed(Handout(number, 98), "one", held=True)
    scene.campaign.ledger.handed(Handout(number, 99), "two", held=True)
    return f"tasks/{number} has two takers at once: one and two"


@planted
async def a_handout_that_is_not_written(scene: Scene) -> str:
    scene.campaign.ledger.handed(Handout(10**6, 2), "one", held=False)
    return "hand-out Handout(task=1000000, number=2) was acknowledged 1 times more"


@planted
async def a_dead_event(scene: Scene) -> str:
    with scene.redis() as redis:
        redis.xadd("atelier.events:dead", {"body": b"x", "reason": "nobody: planted"})
    return "1 left in Redis: dead events"


@planted
async def a_process_of_nobody(scene: Scene) -> str:
    process = scene.stack.enter_context(subprocess.Popen(["sleep", "600"], cwd=scene.data))
    scene.stack.callback(process.kill)
    return f"process {process.pid} belongs to no supervisor"


@pytest.fixture(scope="module")
async def found(scene: Scene) -> tuple[dict[str, str], list[str]]:
    """The words by which each fault should be found, all planted; and what the judge found."""
    expected = {plant.__name__: await plant(scene) for plant in PLANTS}
    return expected, await scene.judged()


@pytest.mark.parametrize("name", [plant.__name__ for plant in PLANTS])
def test_a_planted_fault_is_found(found: tuple[dict[str, str], list[str]], name: str) -> None:
    """Each by a sentence that names the thing, however many others there are."""
    expected, sentences = found
    assert [each for each in sentences if expected[name] in each], sentences
