"""One owner's many pictures do not keep another's single one waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from atelier.queue import Lanes
from atelier.roles import archiver, processor

if TYPE_CHECKING:
    from atelier.http.resources import Resources
    from atelier.settings import Settings
    from tests.images.conftest import Person

MANY = 40
SHARE = 2
DONE = "SELECT space_id FROM outbox WHERE type = 'image.processed' ORDER BY id"


async def test_a_second_owner_waits_for_a_few_pictures(
    ada: Person, bob: Person, resources: Resources, settings: Settings
) -> None:
    """Sent last, it is done among the first, and everything else is done as well."""
    lanes = resources.process_lanes
    resources.process_lanes = Lanes(*lanes.queues, share=SHARE)
    before = len(await resources.database.fetch(DONE))
    theirs = [await ada.upload() for _ in range(MANY)]
    his = await bob.upload()
    assert [await queue.depth() for queue in lanes.queues] == [SHARE + 1, MANY - SHARE]
    stop = asyncio.Event()
    roles = [asyncio.create_task(role.run(settings, stop)) for role in (processor, archiver)]
    for person, record in [(bob, his), *((ada, record) for record in theirs)]:
        assert (await person.settled(record["id"]))["status"] == "ready"
    stop.set()
    await asyncio.gather(*roles)
    assert await lanes.depth() == 0
    done = [row["space_id"] for row in await resources.database.fetch(DONE)][before:]
    assert len(done) == MANY + 1
    assert done.index(bob.id) < MANY // 2
