"""The work queue against a real engine: sending, limits, failures, dead letters."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from atelier.errors import Invalid, Unavailable
from atelier.queue import Job, Queue, QueueFull, Reject
from tests.waiting import PATIENCE_SECONDS, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

WORKERS = "workers"


@pytest.fixture
def queue(redis: Redis) -> Queue:
    """A queue with quick back-off and a lease that no test awaits."""
    lease = 10 * PATIENCE_SECONDS
    return Queue(redis, "jobs", limit=100, attempts=3, lease=lease, backoff=0.02)


@contextlib.asynccontextmanager
async def consuming(
    queue: Queue, handler: Callable[[Job], Awaitable[None]], **options: object
) -> AsyncIterator[asyncio.Event]:
    """A consumer that runs during the block and is drained at its end."""
    stop = asyncio.Event()
    options.setdefault("consumer", f"test-{secrets.token_hex(4)}")
    async with patience():
        consuming = queue.consume(handler, stop=stop, **options)  # type: ignore[arg-type]
        running = asyncio.create_task(consuming)
        try:
            yield stop
        finally:
            stop.set()
            await running


async def emptied(queue: Queue) -> None:
    async with patience():
        while await queue.depth():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        bytes(range(256)),
        b"\r\n$-1\r\n",
        "Тест".encode(),
        b"x" * 1024 * 1024,
        secrets.token_bytes(5 * 2**20),
    ],
    ids=["empty", "nul", "all bytes", "protocol", "utf-8", "1 MiB", "5 MiB"],
)
async def test_bodies_come_as_they_were_sent(queue: Queue, body: bytes) -> None:
    """Any bytes travel unchanged, and the job bears the id that send returned."""
    taken: list[Job] = []

    async def handler(job: Job) -> None:
        taken.append(job)

    sent = await queue.send(body)
    async with consuming(queue, handler):
        await emptied(queue)
    assert taken == [Job(sent, body, 1)]


@pytest.mark.parametrize("batch", [1, 7, 100])
async def test_jobs_are_taken_in_the_order_they_were_sent(queue: Queue, batch: int) -> None:
    """One consumer with one runner handles jobs oldest first and once, even with read-ahead."""
    bodies = [b"%d" % number for number in range(100)]
    await queue.send_many(bodies)
    taken: list[bytes] = []

    async def handler(job: Job) -> None:
        taken.append(job.body)

    async with consuming(queue, handler, batch=batch):
        await emptied(queue)
    assert taken == bodies


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_as_many_jobs_run_at_once_as_allowed(queue: Queue, concurrency: int) -> None:
    """`concurrency` handlers run side by side, not one more, also when single jobs are read."""
    await queue.send_many([b""] * 12)
    running, most, all_run = 0, 0, asyncio.Event()

    async def handler(_: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == concurrency:
            all_run.set()
        await all_run.wait()
        await asyncio.sleep(0.03)  # in which one too many would begin
        running -= 1

    async with consuming(queue, handler, concurrency=concurrency):
        await emptied(queue)
    assert most == concurrency


async def test_a_job_leaves_only_when_it_is_done(queue: Queue) -> None:
    """While a handler runs its job is outstanding; after it returned the job is gone."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def handler(_: Job) -> None:
        begun.set()
        await finish.wait()

    await queue.send(b"")
    async with consuming(queue, handler):
        await begun.wait()
        assert await queue.depth() == 1
        finish.set()
        await emptied(queue)


async def test_the_oldest_outstanding_job_dates_the_queue(queue: Queue) -> None:
    """`oldest_time` is when the oldest unfinished job was sent; None when the queue is empty."""
    assert await queue.oldest_time() is None
    assert await queue.oldest() == 0
    finish = asyncio.Event()

    async def handler(job: Job) -> None:
        if job.body == b"first":
            await finish.wait()

    before = datetime.now(UTC) - timedelta(milliseconds=1)
    await queue.send(b"first")
    after = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await queue.send_many([b"second", b"third"])
    async with consuming(queue, handler, concurrency=2):
        async with patience():
            while await queue.depth() > 1:
                await asyncio.sleep(0.005)
        oldest = await queue.oldest_time()
        assert oldest is not None
        assert before <= oldest <= after
        assert await queue.oldest() >= 0.05
        finish.set()
        await emptied(queue)
    assert await queue.oldest_time() is None


async def test_a_full_queue_refuses(redis: Redis) -> None:
    """Above its limit a queue raises QueueFull with a time to wait; what it holds stays.

    Room is made by done jobs.
    """
    queue = Queue(redis, "jobs", limit=3, attempts=1)
    await queue.send_many([b"1", b"2"])
    with pytest.raises(QueueFull):
        await queue.send_many([b"3", b"4"])
    assert await queue.depth() == 2
    await queue.send(b"3")
    with pytest.raises(QueueFull) as refusal:
        await queue.send(b"4")
    assert isinstance(refusal.value, Unavailable)
    assert refusal.value.retry_after

    async def handler(_: Job) -> None:
        return

    async with consuming(queue, handler):
        await emptied(queue)
    await queue.send(b"4")
    assert await queue.send_many([]) == []


async def test_the_limit_holds_for_many_senders(redis: Redis) -> None:
    """Senders that come at once do not overfill the queue."""
    queue = Queue(redis, "jobs", limit=20, attempts=1)
    answers = await asyncio.gather(*(queue.send(b"") for _ in range(50)), return_exceptions=True)
    assert await queue.depth() == 20
    assert sum(isinstance(answer, QueueFull) for answer in answers) == 30


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"attempts": 0}, {"lease": 0}, {"backoff": -1}, {"dead_limit": 0}],
)
def test_senseless_queues_are_refused(redis: Redis, options: dict[str, int]) -> None:
    """Limits and times below one are errors of the program."""
    with pytest.raises(ValueError, match="positive"):
        Queue(redis, "jobs", **{"limit": 1, "attempts": 1, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"concurrency": 0}, {"consumer": ""}, {"consumer": "waiting"}]
)
async def test_senseless_consumers_are_refused(queue: Queue, options: dict[str, object]) -> None:
    """A consumer needs a name of its own and room for a job."""

    async def handler(_: Job) -> None:
        return

    options = {"consumer": "a", **options}
    with pytest.raises(ValueError, match="consumer"):
        await queue.consume(handler, stop=asyncio.Event(), **options)  # type: ignore[arg-type]


async def test_a_failed_job_comes_again_later_each_time(redis: Redis) -> None:
    """Deliveries count up and the pauses double: no try comes before half of its whole pause."""
    queue = Queue(redis, "jobs", limit=10, attempts=4, backoff=0.2)
    tries: list[tuple[int, float]] = []

    async def handler(job: Job) -> None:
        tries.append((job.deliveries, time.monotonic()))
        if job.deliveries < 4:
            raise ValueError("not yet")

    await queue.send(b"")
    async with consuming(queue, handler):
        await emptied(queue)
    assert [deliveries for deliveries, _ in tries] == [1, 2, 3, 4]
    # A slow machine makes the gaps longer, never shorter.
    gaps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(tries)]
    assert all(gap >= least for gap, least in zip(gaps, [0.1, 0.2, 0.4], strict=True))
    assert await queue.dead(1) == []


async def test_a_failing_job_does_not_hold_up_others(queue: Queue) -> None:
    """While one job waits for its next try the others are done."""
    done: list[bytes] = []

    async def handler(job: Job) -> None:
        if job.body == b"bad" and job.deliveries == 1:
            raise OSError("disk")
        done.append(job.body)

    await queue.send_many([b"bad", b"1", b"2"])
    async with consuming(queue, handler):
        await emptied(queue)
    assert done == [b"1", b"2", b"bad"]


@pytest.mark.parametrize(
    ("error", "reason", "deliveries"),
    [
        (ValueError("no such thing"), "failed: ValueError: no such thing", 3),
        (Invalid("too wide", slug="too-many-pixels"), "too-many-pixels: too wide", 3),
        (Reject("malformed: truncated"), "malformed: truncated", 1),
        (Reject("Ünicode"), "Ünicode", 1),
    ],
)
async def test_a_job_that_cannot_be_done_becomes_a_dead_letter(
    queue: Queue, error: Exception, reason: str, deliveries: int
) -> None:
    """After its attempts, or at once when rejected, a job is kept aside with its reason."""
    told: list[tuple[bytes, str, int]] = []

    async def handler(_: Job) -> None:
        raise error

    async def on_dead(job: Job, reason: str) -> None:
        assert await queue.dead(1) == []
        told.append((job.body, reason, await queue.depth()))

    sent = await queue.send(b"body")
    async with consuming(queue, handler, on_dead=on_dead):
        await emptied(queue)
    assert told == [(b"body", reason, 1)]
    [letter] = await queue.dead(10)
    assert (letter.reason, letter.deliveries, letter.size) == (reason, deliveries, 4)
    assert letter.sent_at.timestamp() * 1000 == pytest.approx(int(sent.split("-")[0]))
    assert letter.sent_at <= letter.died_at


async def test_a_death_is_reported_until_the_report_succeeds(queue: Queue) -> None:
    """When `on_dead` fails, the job is kept and reported again, without another run."""
    handled, told = [], []

    async def handler(_: Job) -> None:
        handled.append(1)
        raise Reject("no")

    async def on_dead(_: Job, reason: str) -> None:
        told.append(reason)
        if len(told) < 3:
            raise Unavailable("the other queue is full")

    await queue.send(b"")
    async with consuming(queue, handler, on_dead=on_dead):
        await emptied(queue)
    assert len(told) == 3
    assert len(await queue.dead(10)) == 1


@pytest.mark.parametrize("batched", [False, True])
async def test_unavailable_is_not_an_attempt(queue: Queue, *, batched: bool) -> None:
    """A handler that meets an outage postpones its job without spending its attempts."""
    tries: list[int] = []

    async def handler(job: Job) -> None:
        tries.append(job.deliveries)
        if len(tries) < 6:
            raise Unavailable("the database is away")

    async def batch_handler(jobs: list[Job]) -> None:
        await handler(jobs[0])

    await queue.send(b"")
    stop = asyncio.Event()
    async with patience(), asyncio.TaskGroup() as tasks:
        if batched:
            tasks.create_task(queue.consume_batches(batch_handler, consumer="a", stop=stop))
        else:
            tasks.create_task(queue.consume(handler, consumer="a", stop=stop))
        await emptied(queue)
        stop.set()
    assert tries == [1] * 6
    assert await queue.dead(1) == []


async def test_batches_are_as_large_as_allowed(queue: Queue) -> None:
    """A batch handler gets up to `batch` waiting jobs together, and all are acknowledged."""
    sizes: list[int] = []
    stop = asyncio.Event()

    async def handler(jobs: list[Job]) -> None:
        sizes.append(len(jobs))
        if sum(sizes) == 40:
            stop.set()

    await queue.send_many([b""] * 40)
    async with patience():
        await queue.consume_batches(handler, consumer="a", batch=16, stop=stop)
    assert sizes == [16, 16, 8]
    assert await queue.depth() == 0


async def test_a_failed_batch_is_taken_apart(queue: Queue) -> None:
    """One bad job in a batch costs the others neither their result nor an attempt."""
    calls: list[list[bytes]] = []

    async def handler(jobs: list[Job]) -> None:
        calls.append([job.body for job in jobs])
        if any(job.body == b"bad" for job in jobs):
            raise ValueError("bad job")

    await queue.send_many([b"1", b"bad", b"2"])
    stop = asyncio.Event()
    async with patience(), asyncio.TaskGroup() as tasks:
        tasks.create_task(queue.consume_batches(handler, consumer="a", batch=10, stop=stop))
        await emptied(queue)
        stop.set()
    assert calls == [[b"1", b"bad", b"2"], [b"1"], [b"bad"], [b"2"], [b"bad"], [b"bad"]]
    assert [letter.deliveries for letter in await queue.dead(10)] == [3]


async def kill(queue: Queue, bodies: list[bytes]) -> None:
    """Make dead letters of these bodies."""

    async def handler(job: Job) -> None:
        raise Reject(job.body.decode())

    async with consuming(queue, handler):
        for body in bodies:
            await queue.send(body)
            await emptied(queue)


async def test_dead_letters_are_listed_newest_first_and_bounded(redis: Redis) -> None:
    """The newest `dead_limit` letters are kept, and as many are listed as asked for."""
    queue = Queue(redis, "jobs", limit=10, attempts=1, dead_limit=3)
    assert await queue.dead(10) == []
    await kill(queue, [b"1", b"2", b"3", b"4"])
    assert [letter.reason for letter in await queue.dead(10)] == ["4", "3", "2"]
    assert [letter.reason for letter in await queue.dead(1)] == ["4"]


async def test_a_dead_letter_is_sent_again(queue: Queue) -> None:
    """`resend` moves one letter back as a new job with fresh attempts; an unknown id is False."""
    await kill(queue, [b"1", b"2"])
    second, first = await queue.dead(10)
    assert await queue.resend(first.id)
    assert not await queue.resend(first.id)
    assert not await queue.resend("0-1")
    assert await queue.dead(10) == [second]
    taken: list[Job] = []

    async def handler(job: Job) -> None:
        taken.append(job)

    async with consuming(queue, handler):
        await emptied(queue)
    assert [(job.body, job.deliveries) for job in taken] == [(b"1", 1)]


async def test_all_dead_letters_are_sent_again_in_their_order(queue: Queue) -> None:
    """`resend_all` returns how many it moved and keeps the order in which they died."""
    await kill(queue, [b"1", b"2", b"3"])
    assert await queue.resend_all() == 3
    taken: list[bytes] = []

    async def handler(job: Job) -> None:
        taken.append(job.body)

    async with consuming(queue, handler):
        await emptied(queue)
    assert taken == [b"1", b"2", b"3"]
    assert await queue.resend_all() == 0


async def test_resending_respects_the_limit(redis: Redis) -> None:
    """A letter for which the queue has no room stays a letter."""
    queue = Queue(redis, "jobs", limit=1, attempts=1)
    await kill(queue, [b"1", b"2"])
    with pytest.raises(QueueFull):
        await queue.resend_all()
    assert [letter.reason for letter in await queue.dead(10)] == ["2"]


async def test_purge_throws_dead_letters_away(queue: Queue) -> None:
    """`purge` counts what it removed and leaves outstanding jobs alone."""
    await kill(queue, [b"1", b"2"])
    await queue.send(b"3")
    assert await queue.purge() == 2
    assert await queue.purge() == 0
    assert await queue.depth() == 1
