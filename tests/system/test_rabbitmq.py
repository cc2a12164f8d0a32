"""RabbitMQ as an instance's bus, behind a proxy that is cut: every event arrives, in order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.rabbitmq import proxied, virtual_host
from tests.system.clients import upload
from tests.system.conftest import running
from tests.system.instance import settled
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.events.bus.conftest import Proxy
    from tests.system.instance import Instance

pytestmark = pytest.mark.rabbitmq

UPLOADS = 100
FILES = 5
PAUSES = (0.0, 2.0, 4.0)  # seconds without a broker: connections dropped, and refused for a while
EVENT = re.compile(r" event (image\.\w+) (images/\d+) #(\d+) ")


@pytest.fixture
async def vhost(amqp_url: str) -> AsyncIterator[str]:
    """The URL of a virtual host of the test's own."""
    async with virtual_host(amqp_url) as url:
        yield url


def events(instance: Instance) -> dict[str, list[tuple[str, int]]]:
    """The processor's log of each image: types and sequences as they came, each once."""
    seen: dict[str, list[tuple[str, int]]] = {}
    for type_, subject, sequence in EVENT.findall(
        (instance.data / "logs" / "processor.log").read_text()
    ):
        found = seen.setdefault(subject, [])
        if (type_, int(sequence)) not in found:
            found.append((type_, int(sequence)))
    return seen


async def interrupt(proxy: Proxy, done: asyncio.Event) -> int:
    """Cut and mend the way to the broker while uploads go on; how often."""
    for number, pause in enumerate(itertools.cycle(PAUSES)):
        await asyncio.sleep(0.5)
        if done.is_set() and number >= len(PAUSES):
            return number
        await proxy.cut(refuse=pause > 0)
        await asyncio.sleep(pause)
        if pause:
            await proxy.mend()
    raise AssertionError


def upload_all(client: httpx2.Client) -> list[int]:
    """A hundred photographs by four hands."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda number: upload(client, number), range(UPLOADS)))


async def test_a_broker_that_comes_and_goes_loses_no_event(vhost: str) -> None:
    """During 100 uploads with a connection cut repeatedly, no event is missing or out of order."""
    async with proxied(vhost) as (proxy, address):
        with contextlib.ExitStack() as stack:
            instance = await asyncio.to_thread(
                lambda: stack.enter_context(running(amqp_url=address, reconcile_seconds="2"))
            )
            client = await asyncio.to_thread(instance.user)
            done = asyncio.Event()
            interrupting = asyncio.create_task(interrupt(proxy, done))
            ids = await asyncio.to_thread(upload_all, client)
            files = await asyncio.to_thread(upload_files, client)
            done.set()
            assert await interrupting >= len(PAUSES)
            await asyncio.to_thread(assert_all_arrived, instance, client, ids, files)
            await asyncio.to_thread(stack.close)


def upload_files(client: httpx2.Client) -> list[int]:
    """Some files, whose jobs travel by the same broker."""
    answers = [
        client.post("/api/upload", files={"file": ("a.txt", b"text")}) for _ in range(FILES)
    ]
    assert {answer.status_code for answer in answers} == {201}
    return [answer.json()["id"] for answer in answers]


def assert_all_arrived(
    instance: Instance, client: httpx2.Client, ids: list[int], files: list[int]
) -> None:
    """Every picture is ready, its events came in order, and files were inspected, too."""
    assert {settled(client, image_id)["status"] for image_id in ids} == {"ready"}
    expected = {
        f"images/{image_id}": [("image.created", 1), ("image.processed", 2)] for image_id in ids
    }
    until(lambda: events(instance) == expected, "events are missing")
    until(
        lambda: all(client.get(f"/api/files/{id_}").json()["processed"] for id_ in files),
        "files are not done",
    )
    assert instance.command("check", "--deep").returncode == 0
