"""The work queue when things die: workers by SIGKILL, the engine, its data, its memory.

And leaving in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from atelier.errors import Unavailable
from atelier.queue import Job, Queue, QueueFull
from atelier.up.engines import Engine, start_valkey
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

LONG = 10 * PATIENCE_SECONDS  # a lease that no test awaits
SHORT = 0.6  # a lease that tests wait for
KEPT = 2.0  # a lease that living consumers keep, also where their loop comes round late
WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A worker process and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def says(self, line: str) -> None:
        """Read on until it says `line`."""
        assert self.process.stdout is not None
        async with patience():
            while not self.lines or self.lines[-1] != line:
                read = await self.process.stdout.readline()
                assert read, f"it ended before saying {line!r}: {self.lines}"
                self.lines.append(read.decode().strip())

    async def end(self, signal_number: int) -> list[str]:
        """Signal it, wait for its end, and return all it has said."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal_number)
        async with patience():
            rest, _ = await self.process.communicate()
        self.lines += rest.decode().splitlines()
        return self.lines


@pytest.fixture
async def start(redis: Redis, redis_url: str) -> AsyncIterator[Callable[..., Awaitable[Worker]]]:
    """Starts worker processes; kills what is left of them."""
    workers: list[Worker] = []

    async def worker(consumer: str = "", lease: float = LONG, batch: int = 1) -> Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(WORKER), redis_url, "jobs", consumer or secrets.token_hex(4),
            str(lease),
            str(batch),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        workers.append(Worker(process))
        await workers[-1].says("ready")
        return workers[-1]

    yield worker
    for each in workers:
        await each.end(signal.SIGKILL)


@pytest.fixture
def queue(redis: Redis) -> Queue:
    """The queue of the worker processes, as a sender sees it."""
    return Queue(redis, "jobs", limit=1000, attempts=2, lease=SHORT, backoff=0.05)


async def emptied(queue: Queue) -> None:
    async with patience():
        while await queue.depth():
            await asyncio.sleep(0.01)


async def on_disk(redis: Redis) -> None:
    """Wait until the engine's file holds everything so far.

    While a disk is slow to sync, the engine answers before it writes; a kill loses that, and rows
    are what jobs are sent again from.
    """
    async with redis.client() as connection, patience():
        await connection.set("written", "last")
        await connection.waitaof(1, 0, 0)


async def names(redis: Redis) -> set[str]:
    return {info["name"].decode() for info in await redis.xinfo_consumers("jobs", "workers")}


async def test_another_worker_takes_what_a_killed_one_held(
    queue: Queue, start: Callable[..., Awaitable[Worker]]
) -> None:
    """A job whose worker is killed with -9 is done by another after the lease."""
    victim = await start(lease=SHORT)
    await queue.send(b"hang")
    await victim.says("began hang 1")
    await victim.end(signal.SIGKILL)
    heir = await start(lease=SHORT)
    await heir.says("done hang 2")
    await emptied(queue)


async def test_a_restarted_worker_gets_its_own_jobs_at_once(
    queue: Queue, start: Callable[..., Awaitable[Worker]]
) -> None:
    """A worker with the name of a killed one does not wait for the lease of what that one held."""
    victim = await start("processor-1", lease=LONG)
    await queue.send(b"hang")
    await victim.says("began hang 1")
    await victim.end(signal.SIGKILL)
    heir = await start("processor-1", lease=LONG)
    await heir.says("done hang 2")
    await emptied(queue)


async def test_a_job_that_kills_its_workers_becomes_a_dead_letter(
    queue: Queue, start: Callable[..., Awaitable[Worker]]
) -> None:
    """Deliveries to workers that died count: after the allowed ones the next worker reports it."""
    await queue.send(b"die")
    for _ in range(2):
        victim = await start("processor-1")
        await victim.end(0)  # it kills itself; no signal is needed
        assert victim.process.returncode == -signal.SIGKILL
    survivor = await start("processor-1")
    await survivor.says("dead die lost: its worker died in 2 attempts")
    await emptied(queue)
    assert [letter.deliveries for letter in await queue.dead(10)] == [3]
    assert survivor.process.returncode is None


async def test_no_job_is_lost_when_workers_are_killed_again_and_again(
    queue: Queue, start: Callable[..., Awaitable[Worker]]
) -> None:
    """Workers die at random moments; every job is done or a dead letter, never gone."""
    bodies = [f"sleep 0.0{number:03d}" for number in range(1, 151)]
    await queue.send_many([body.encode() for body in bodies])
    said: list[str] = []
    for round_number in range(4):
        victim = await start(lease=SHORT, batch=4)
        await asyncio.sleep(0.15 + 0.05 * round_number)
        said += await victim.end(signal.SIGKILL)
    last = await start(lease=SHORT, batch=4)
    reading = asyncio.create_task(last.says("never"))
    await emptied(queue)
    reading.cancel()
    said += await last.end(signal.SIGTERM)
    done = {
        line.removeprefix("done ").rpartition(" ")[0] for line in said if line.startswith("done ")
    }
    dead = {
        line.split(" lost: ")[0].removeprefix("dead ") for line in said if line.startswith("dead ")
    }
    assert done | dead == set(bodies)


async def test_sigterm_drains(
    redis: Redis, queue: Queue, start: Callable[..., Awaitable[Worker]], tmp_path: Path
) -> None:
    """On SIGTERM the running job finishes, and those read ahead go uncounted to others."""
    leaver = await start("leaver", lease=LONG, batch=5)
    release = tmp_path / "release"
    await queue.send_many([f"await {release}".encode(), b"1", b"2"])
    await leaver.says(f"began await {release} 1")
    stayer = await start("stayer", lease=LONG)
    leaver.process.send_signal(signal.SIGTERM)
    await stayer.says("done 1 1")
    await stayer.says("done 2 1")
    release.touch()
    said = [f"began await {release} 1", f"done await {release} 1"]
    assert await leaver.end(0) == ["ready", *said, "left"]
    assert leaver.process.returncode == 0
    await emptied(queue)
    assert "leaver" not in await names(redis)


async def test_living_consumers_never_hold_one_job_together(redis: Redis) -> None:
    """Jobs longer than several leases are not given to a second consumer while the first lives."""
    queue = Queue(redis, "jobs", limit=10, attempts=2, lease=KEPT)
    running: Counter[str] = Counter()
    deliveries: list[int] = []
    stop = asyncio.Event()

    async def handler(job: Job) -> None:
        running[job.id] += 1
        deliveries.append(job.deliveries)
        assert running[job.id] == 1
        await asyncio.sleep(2.5 * KEPT)
        running[job.id] -= 1

    await queue.send_many([b""] * 6)
    async with patience(), asyncio.TaskGroup() as tasks:
        for name in ("a", "b", "c"):
            tasks.create_task(
                queue.consume(handler, consumer=name, batch=3, concurrency=2, stop=stop)
            )
        await emptied(queue)
        stop.set()
    assert deliveries == [1] * 6


@pytest.mark.parametrize(
    "wipe", ["FLUSHDB", "DEL jobs", "XGROUP DESTROY jobs workers", "SCRIPT FLUSH"]
)
async def test_consumers_outlive_a_wiped_engine(redis: Redis, queue: Queue, wipe: str) -> None:
    """After the stream, its group or the scripts are gone, jobs are sent and done as before.

    Running ones finish.
    """
    done: list[bytes] = []
    begun, finish, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> None:
        if job.body == b"running":
            begun.set()
            await finish.wait()
        done.append(job.body)

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.consume(handler, consumer="a", concurrency=2, stop=stop))
        await queue.send(b"running")
        await begun.wait()
        await redis.execute_command(*wipe.split())
        finish.set()
        await queue.send(b"after")
        while b"after" not in done:
            await asyncio.sleep(0.01)
        await emptied(queue)
        stop.set()
    assert {b"running", b"after"} == set(done)


async def test_jobs_sent_into_a_wiped_engine_wait_for_their_consumer(
    redis: Redis, queue: Queue
) -> None:
    """A group that is recreated begins with the first entry: nothing sent meanwhile is skipped."""
    await queue.send_many([b"1", b"2"])
    done: list[bytes] = []
    stop = asyncio.Event()

    async def handler(job: Job) -> None:
        done.append(job.body)
        if len(done) == 2:
            stop.set()

    async with patience():
        await queue.consume(handler, consumer="a", stop=stop)
    assert done == [b"1", b"2"]


async def test_an_entry_deleted_by_hand_does_not_stop_the_queue(
    redis: Redis, queue: Queue
) -> None:
    """A pending job whose entry an operator deleted is forgotten; the others come."""
    ids = await queue.send_many([b"1", b"2"])
    await redis.xgroup_create("jobs", "workers", id="0")
    await redis.xreadgroup("workers", "dead", {"jobs": ">"}, count=2)
    await redis.xdel("jobs", ids[0])
    done, stop = [], asyncio.Event()

    async def handler(job: Job) -> None:
        done.append(job.id)

    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.consume(handler, consumer="b", stop=stop))
        await emptied(queue)
        while (await redis.xpending("jobs", "workers"))["pending"]:
            await asyncio.sleep(0.01)
        stop.set()
    assert done == ids[1:]


async def test_names_of_dead_consumers_are_removed(redis: Redis, queue: Queue) -> None:
    """A name that holds nothing and has not come for a lease goes.

    One that holds a job goes after the job.
    """

    async def handler(_: Job) -> None:
        return

    await redis.xgroup_create("jobs", "workers", id="0", mkstream=True)
    await redis.xgroup_createconsumer("jobs", "workers", "ghost")
    await queue.send(b"")
    await redis.xreadgroup("workers", "holder", {"jobs": ">"}, count=1)
    assert await names(redis) == {"ghost", "holder"}
    stop = asyncio.Event()
    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.consume(handler, consumer="alive", stop=stop))
        await emptied(queue)
        while await names(redis) & {"ghost", "holder"}:
            await asyncio.sleep(0.02)
        stop.set()
    assert await names(redis) <= {"waiting"}


async def test_a_cancelled_consumer_gives_its_jobs_back(redis: Redis, queue: Queue) -> None:
    """When the task is cancelled, another consumer gets its job without waiting for the lease."""
    slow = Queue(redis, "jobs", limit=10, attempts=3, lease=LONG)
    begun = asyncio.Event()

    async def forever(_: Job) -> None:
        begun.set()
        await asyncio.Event().wait()

    await queue.send(b"")
    task = asyncio.create_task(slow.consume(forever, consumer="a", stop=asyncio.Event()))
    await begun.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    stop, taken = asyncio.Event(), []

    async def handler(job: Job) -> None:
        taken.append(job.deliveries)
        stop.set()

    async with patience():
        await slow.consume(handler, consumer="b", stop=stop)
    assert taken == [2]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of the test's own, to be stopped and limited."""
    engine = start_valkey(tmp_path / "valkey")
    yield engine
    engine.halt()


async def test_the_queue_outlives_its_engine(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """While the engine is away sending is Unavailable and the consumer waits, with one log line.

    Then both go on.
    """
    done: list[bytes] = []
    begun, away, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> None:
        begun.set()
        if job.body == b"running":
            await away.wait()  # ends while the engine is away: its acknowledgement must wait
        done.append(job.body)

    def noticed() -> int:
        return sum("is unavailable" in record.getMessage() for record in caplog.records)

    async with Redis.from_url(engine.url, retry=Retry(NoBackoff(), 0)) as redis, patience():
        queue = Queue(redis, "jobs", limit=10, attempts=3, lease=LONG)
        async with asyncio.TaskGroup() as tasks:
            consumer = tasks.create_task(queue.consume(handler, consumer="a", stop=stop))
            await queue.send_many([b"running", b"waiting"])
            await begun.wait()
            await on_disk(redis)
            engine.halt()
            for call in (queue.send(b""), queue.depth(), queue.oldest_time(), queue.dead(1)):
                with pytest.raises(Unavailable):
                    await call
            away.set()
            await eventually(lambda: b"running" in done and noticed())
            again = start_valkey(engine.folder)
            try:
                await queue.send(b"after")
                await emptied(queue)
                stop.set()
                await consumer
            finally:
                again.halt()
    assert done == [b"running", b"waiting", b"after"]
    assert noticed() == 1


async def test_leaving_without_an_engine_ends(engine: Engine) -> None:
    """A consumer that is stopped while its engine is away ends all the same."""
    begun, stop = asyncio.Event(), asyncio.Event()

    async def handler(_: Job) -> None:
        begun.set()
        await stop.wait()

    async with Redis.from_url(engine.url, retry=Retry(NoBackoff(), 0)) as redis, patience():
        queue = Queue(redis, "jobs", limit=10, attempts=3)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(queue.consume(handler, consumer="a", stop=stop))
            await queue.send_many([b"1", b"2"])
            await begun.wait()
            engine.halt()
            stop.set()


async def fill(queue: Queue) -> None:
    for _ in range(100):
        await queue.send(secrets.token_bytes(2**20))


async def test_an_engine_without_memory_is_a_full_queue(engine: Engine) -> None:
    """When the engine refuses a write for want of memory, the queue is full."""
    async with Redis.from_url(engine.url) as redis:
        queue = Queue(redis, "jobs", limit=1000, attempts=1)
        await redis.config_set("maxmemory", "16mb")
        with pytest.raises(QueueFull):
            await fill(queue)
        assert 1 <= await queue.depth() < 100
