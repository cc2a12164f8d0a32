"""The cache is never stale after an acknowledged write and loads once for many readers."""

from __future__ import annotations

import asyncio
import shutil
import signal
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from atelier.cache import Cache, Memory, aside
from atelier.cache.batcher import Batcher
from atelier.errors import Unavailable
from atelier.queue import Queue
from atelier.up.engines import start_valkey
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from atelier.up.engines import Engine

TTL = 10 * PATIENCE_SECONDS
LONG_MS = round(1000 * TTL)  # leases and fences do not expire in a test, unless it is about that
KEY = "image:1"


@pytest.fixture(autouse=True)
def _long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "LEASE_MS", LONG_MS)
    monkeypatch.setattr(aside, "FENCE_MS", LONG_MS)


class Source:
    """A source with one value, whose reads can be held up between reading and returning."""

    def __init__(self, value: bytes | None = b"old") -> None:
        self.value = value
        self.loads = 0
        self.loading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def load(self) -> bytes | None:
        """Read, perhaps slowly."""
        self.loads += 1
        value = self.value
        self.loading.set()
        await self.go_on.wait()
        return value


@pytest.fixture
async def cache(redis: Redis) -> AsyncIterator[Cache]:
    """The cache of one process."""
    cache = Cache(redis)
    yield cache
    await cache.close()


@pytest.fixture
async def other(redis: Redis) -> AsyncIterator[Cache]:
    """The cache of another process on the same Redis."""
    cache = Cache(redis)
    yield cache
    await cache.close()


async def test_loads_once(cache: Cache, other: Cache) -> None:
    """A value that one process has loaded is found by every process."""
    source = Source()
    assert [await c.get_or_load(KEY, source.load, TTL) for c in (cache, cache, other)] == [
        b"old"
    ] * 3
    assert await other.get(KEY) == b"old"
    assert source.loads == 1
    assert (cache.hits, cache.misses, other.hits, other.misses) == (1, 1, 2, 0)


async def test_any_bytes(cache: Cache) -> None:
    """Values come back as they are, whatever bytes they hold."""
    for number, value in enumerate([b"f1", b"l", b"\0\xff\r\n", b"v", bytes(range(256)) * 4096]):
        source = Source(value)
        assert [await cache.get_or_load(str(number), source.load, TTL) for _ in "ab"] == [
            value
        ] * 2
        assert source.loads == 1


async def test_get_takes_no_lease(cache: Cache) -> None:
    """Looking without loading neither finds nothing twice nor keeps others from loading."""
    assert await cache.get(KEY) is None
    source = Source()
    await cache.get_or_load(KEY, source.load, TTL)
    assert await cache.get(KEY) == b"old"


async def is_free(cache: Cache) -> bool:
    """True if Redis holds neither a value nor a lease nor a fence."""
    return not await cache._redis.dbsize()


async def test_values_expire(cache: Cache) -> None:
    """After its time to live a value is loaded again."""
    source = Source()
    await cache.get_or_load(KEY, source.load, 0.05)
    await eventually(partial(is_free, cache))
    await cache.get_or_load(KEY, source.load, 0.05)
    assert source.loads == 2


@pytest.mark.parametrize(("value", "limit"), [(None, None), (b"", None), (b"12345", 4)])
async def test_not_kept(cache: Cache, value: bytes | None, limit: int | None) -> None:
    """Values that are missing, empty or too large are loaded each time and leave no lease."""
    source = Source(value)
    for _ in range(3):
        assert await cache.get_or_load(KEY, source.load, TTL, limit=limit) == value
    assert source.loads == 3


async def test_largest_kept(cache: Cache) -> None:
    """A value of exactly the limit is kept."""
    source = Source(b"12345")
    for _ in range(2):
        await cache.get_or_load(KEY, source.load, TTL, limit=5)
    assert source.loads == 1


async def test_a_failed_load_ends_its_lease(cache: Cache) -> None:
    """An error of the source reaches the reader, and the next reader loads at once."""

    async def fail() -> bytes:
        raise LookupError("no row")

    with pytest.raises(LookupError, match="no row"):
        await cache.get_or_load(KEY, fail, TTL)
    source = Source()
    assert [await cache.get_or_load(KEY, source.load, TTL) for _ in "ab"] == [b"old"] * 2
    assert source.loads == 1


async def test_a_cancelled_reader_ends_its_lease(cache: Cache) -> None:
    """A reader that is cancelled half-way does not block others."""
    source = Source()
    source.go_on.clear()
    reading = asyncio.create_task(cache.get_or_load(KEY, source.load, TTL))
    await source.loading.wait()
    waiting = asyncio.create_task(cache.get_or_load(KEY, source.load, TTL))
    await eventually(lambda: cache.misses == 2)  # it has looked, and waits for the first
    reading.cancel()
    source.go_on.set()
    assert await waiting == b"old"
    assert [await cache.get_or_load(KEY, source.load, TTL) for _ in "ab"] == [b"old"] * 2
    assert source.loads == 3


@pytest.mark.parametrize("readers", [2, 100])
async def test_a_stampede_is_one_load(cache: Cache, readers: int) -> None:
    """Many readers of one process at once are one load, however long it takes."""
    source = Source()
    source.go_on.clear()
    reading = [
        asyncio.create_task(cache.get_or_load(KEY, source.load, TTL)) for _ in range(readers)
    ]
    await source.loading.wait()
    reading.append(asyncio.create_task(cache.get_or_load(KEY, source.load, TTL)))
    await eventually(lambda: cache.misses == readers + 1)  # all have looked
    source.go_on.set()
    assert set(await asyncio.gather(*reading)) == {b"old"}
    assert source.loads == 1


async def test_no_reader_joins_a_load_older_than_itself(cache: Cache, other: Cache) -> None:
    """A reader that begins after a write does not share a load that began before it."""
    source = Source()
    source.go_on.clear()
    early = asyncio.create_task(cache.get_or_load(KEY, source.load, TTL))
    await source.loading.wait()
    await other.fence([KEY])
    source.value = b"new"
    await other.drop([KEY])
    late = Source(b"new")
    async with patience():
        assert await cache.get_or_load(KEY, late.load, TTL) == b"new"
    source.go_on.set()
    assert await early == b"old"
    assert await other.get(KEY) == b"new"


async def test_a_stampede_of_two_processes_is_one_load(
    cache: Cache, other: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of another process wait for the value instead of loading it, too."""
    monkeypatch.setattr(aside, "WAIT_SECONDS", PATIENCE_SECONDS)
    source = Source()
    source.go_on.clear()
    reading = [
        asyncio.create_task(c.get_or_load(KEY, source.load, TTL)) for c in [cache, other] * 50
    ]
    await source.loading.wait()
    await asyncio.sleep(0.03)  # in which a reader that does not wait would load
    source.go_on.set()
    assert set(await asyncio.gather(*reading)) == {b"old"}
    assert source.loads == 1


async def test_no_reader_waits_long_for_another_process(cache: Cache, other: Cache) -> None:
    """While another process takes its time, readers get tired of waiting and read the source."""
    source = Source()
    source.go_on.clear()
    stuck = asyncio.create_task(cache.get_or_load(KEY, source.load, TTL))
    await source.loading.wait()
    quick = Source(b"quick")
    assert await other.get_or_load(KEY, quick.load, TTL) == b"quick"
    source.go_on.set()
    await stuck


class Scene:
    """One reader and one or two writers of a key, as steps that can be interleaved in any way."""

    def __init__(self, cache: Cache, other: Cache) -> None:
        self.source = Source(b"0")
        self.caches = [cache, other]
        self.acknowledged = b"0"

    async def reader(self) -> AsyncIterator[None]:
        """Read with a pause between reading the source and filling.

        What it gets is no older than when it began.
        """
        for _ in range(2):
            newest = self.acknowledged
            self.source.go_on.clear()
            self.source.loading.clear()
            reading = asyncio.create_task(self.caches[0].get_or_load(KEY, self.source.load, TTL))
            loading = asyncio.create_task(self.source.loading.wait())
            await asyncio.wait([reading, loading], return_when=asyncio.FIRST_COMPLETED)
            loading.cancel()
            yield
            self.source.go_on.set()
            value = await reading
            assert value is not None
            assert value >= newest
            yield

    async def writer(self, cache: Cache) -> AsyncIterator[None]:
        """Write as a use case does."""
        await cache.fence([KEY])
        yield
        mine = self.source.value = b"%d" % (int(self.source.value or b"") + 1)
        yield
        await cache.drop([KEY])
        self.acknowledged = max(self.acknowledged, mine)
        yield

    async def check(self) -> None:
        """Afterwards every read gives the newest value."""
        self.source.go_on.set()
        for cache in self.caches * 2:
            assert await cache.get_or_load(KEY, self.source.load, TTL) == self.source.value


async def play(order: Sequence[int], actors: Sequence[AsyncIterator[None]]) -> None:
    """Let the actors take their steps in this order, then their last ones."""
    for index in order:
        await anext(actors[index], None)
    for actor in actors:
        async for _ in actor:
            pass


@pytest.mark.parametrize("reader_steps", list(combinations(range(7), 4)))
async def test_reader_and_writer_in_every_order(
    cache: Cache, other: Cache, reader_steps: tuple[int, ...]
) -> None:
    """In any interleaving of reader and writer, no value older than the last write stays."""
    scene = Scene(cache, other)
    order = [0 if step in reader_steps else 1 for step in range(7)]
    await play(order, [scene.reader(), scene.writer(other)])
    await scene.check()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.lists(st.integers(0, 2), max_size=14), cached=st.booleans())
def test_two_writers_in_any_order(redis_url: str, order: list[int], *, cached: bool) -> None:
    """The same with a second writer, whether a value is cached at the beginning or not."""

    async def scenario() -> None:
        async with Redis.from_url(redis_url) as redis:
            await redis.flushdb()
            cache, other = Cache(redis), Cache(redis)
            scene = Scene(cache, other)
            if cached:
                await cache.get_or_load(KEY, scene.source.load, TTL)
            await play(order, [scene.reader(), scene.writer(cache), scene.writer(other)])
            await scene.check()
            await cache.close()
            await other.close()

    asyncio.run(scenario())


async def test_a_fence_hides_the_value(cache: Cache, other: Cache) -> None:
    """From the fence on readers read the source, in every process."""
    source = Source()
    await cache.get_or_load(KEY, source.load, TTL)
    await other.fence([KEY])
    source.value = b"new"
    assert await cache.get_or_load(KEY, source.load, TTL) == b"new"
    assert await cache.get(KEY) is None
    await other.drop([KEY])
    assert [await cache.get_or_load(KEY, source.load, TTL) for _ in "ab"] == [b"new"] * 2
    assert source.loads == 3


async def test_the_first_of_two_writers_leaves_the_fence(cache: Cache, other: Cache) -> None:
    """While another writer is about to commit, one that is done does not let readers fill."""
    source = Source()
    await cache.fence([KEY])
    await other.fence([KEY])
    await cache.drop([KEY])
    await cache.get_or_load(KEY, source.load, TTL)
    assert await cache.get(KEY) is None
    await other.drop([KEY])
    await cache.get_or_load(KEY, source.load, TTL)
    assert await cache.get(KEY) == b"old"


async def test_fences_expire(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fence of a writer that died goes by itself."""
    monkeypatch.setattr(aside, "FENCE_MS", 50)
    source = Source()
    await cache.fence([KEY])
    await eventually(partial(is_free, cache))
    await cache.get_or_load(KEY, source.load, TTL)
    assert await cache.get(KEY) == b"old"


async def test_leases_expire(cache: Cache, other: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease of a reader that died goes by itself.

    What that reader brings later is not kept.
    """
    monkeypatch.setattr(aside, "LEASE_MS", 50)
    slow, quick = Source(b"slow"), Source(b"quick")
    slow.go_on.clear()
    reading = asyncio.create_task(cache.get_or_load(KEY, slow.load, TTL))
    await slow.loading.wait()
    await eventually(partial(is_free, cache))
    monkeypatch.setattr(aside, "LEASE_MS", LONG_MS)
    assert await other.get_or_load(KEY, quick.load, TTL) == b"quick"
    slow.go_on.set()
    assert await reading == b"slow"
    assert await other.get(KEY) == b"quick"


async def test_many_keys_at_once(cache: Cache) -> None:
    """A fence covers all its keys; no keys are no work."""
    keys = [f"image:{number}" for number in range(300)]
    source = Source()
    await asyncio.gather(*(cache.get_or_load(key, source.load, TTL) for key in keys))
    assert source.loads == 300
    await cache.fence(keys)
    await cache.fence([])
    assert await asyncio.gather(*(cache.get(key) for key in keys)) == [None] * 300
    await cache.drop(keys)
    await cache.drop([])
    await asyncio.gather(*(cache.get_or_load(key, source.load, TTL) for key in keys))
    assert await asyncio.gather(*(cache.get(key) for key in keys)) == [b"old"] * 300


async def test_keys_of_one_turn_share_a_round_trip(cache: Cache, redis: Redis) -> None:
    """A hundred look-ups at once are a handful of commands."""
    await cache.get("warm")
    before = (await redis.info("stats"))["total_commands_processed"]
    await asyncio.gather(*(cache.get(f"key{number}") for number in range(100)))
    after = (await redis.info("stats"))["total_commands_processed"]
    assert after - before < 120  # a script counts its own commands, one for each key


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Starts a Valkey of this test's own, and starts it again on the same folder."""
    started: list[Engine] = []

    def start() -> Engine:
        started.append(start_valkey(tmp_path / "valkey"))
        return started[-1]

    yield start
    for engine in started:
        engine.halt()


async def test_redis_stopped_in_the_middle(
    valkey: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Redis, reads go to the source and writes are refused, until it is back."""
    monkeypatch.setattr(aside, "PROBE_SECONDS", 0.05)
    engine, source = valkey(), Source()
    async with Redis.from_url(engine.url) as redis:
        cache = Cache(redis)
        await cache.get_or_load(KEY, source.load, TTL)
        engine.stop()
        assert await cache.get_or_load(KEY, source.load, TTL) == b"old"
        assert await cache.get(KEY) is None
        with pytest.raises(Unavailable):
            await cache.fence([KEY])
        await cache.drop([KEY])
        valkey()
        await back(cache)
        await cache.fence([KEY])
        source.value = b"new"
        await cache.drop([KEY])
        assert [await cache.get_or_load(KEY, source.load, TTL) for _ in "ab"] == [b"new"] * 2
        await cache.close()


async def back(cache: Cache) -> None:
    """Return when the cache has found Redis again."""
    await cache.get("wake")
    async with patience():
        while await cache.get_or_load("probe", Source(b"up").load, TTL) and not await cache.get(
            "probe"
        ):
            await asyncio.sleep(0.01)


async def test_redis_stopped_while_loading(valkey: Callable[[], Engine]) -> None:
    """Readers that wait for one whose Redis goes away get the value from the source."""
    engine, source = valkey(), Source()
    async with Redis.from_url(engine.url) as redis:
        cache = Cache(redis)
        source.go_on.clear()
        reading = [asyncio.create_task(cache.get_or_load(KEY, source.load, TTL)) for _ in range(5)]
        await source.loading.wait()
        engine.stop()
        source.go_on.set()
        assert await asyncio.gather(*reading) == [b"old"] * 5
        await cache.close()


async def test_a_redis_that_hangs(
    valkey: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that never answers costs one time-out for all readers, not one for each."""
    monkeypatch.setattr(aside, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(aside, "PROBE_SECONDS", 10 * PATIENCE_SECONDS)
    engine, source = valkey(), Source()
    async with Redis.from_url(engine.url) as redis:
        cache = Cache(redis)
        await cache.get_or_load(KEY, source.load, TTL)
        engine.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(100):
                assert await cache.get_or_load(KEY, source.load, TTL) == b"old"
        finally:
            engine.process.send_signal(signal.SIGCONT)
        await cache.close()
    timeouts = [line for line in caplog.messages if line.startswith("reading without Redis")]
    assert len(timeouts) == 1


async def test_what_a_restart_brings_back_is_not_trusted(
    valkey: Callable[[], Engine], tmp_path: Path
) -> None:
    """A Redis restored to an older state does not bring back values that were dropped since."""
    engine, source = valkey(), Source()
    async with Redis.from_url(engine.url) as redis:
        cache, idle = Cache(redis), Cache(redis)
        await idle.get_or_load(KEY, source.load, TTL)
        assert await cache.get(KEY) == b"old"
        engine.stop()
        shutil.copytree(tmp_path / "valkey", tmp_path / "backup")
        engine = valkey()
        await cache.get("wake")
        await cache.fence([KEY])
        source.value = b"new"
        await cache.drop([KEY])
        engine.stop()
        shutil.rmtree(tmp_path / "valkey")
        (tmp_path / "backup").rename(tmp_path / "valkey")
        valkey()
        names = [name async for name in redis.scan_iter(f"*{KEY}")]
        assert len(names) == 1, "the old value must be there for this to prove anything"
        for reader in (cache, idle, Cache(redis)):
            assert await reader.get_or_load(KEY, source.load, TTL) == b"new"
            await reader.close()


async def test_no_redis_from_the_start() -> None:
    """A process that starts without Redis serves its readers."""
    source = Source()
    async with Redis.from_url("unix:///nonexistent/redis.sock") as redis:
        cache = Cache(redis)
        assert (
            await asyncio.gather(*(cache.get_or_load(KEY, source.load, TTL) for _ in range(5)))
            == [b"old"] * 5
        )
        with pytest.raises(Unavailable):
            await cache.fence([KEY])
        await cache.close()


async def test_a_full_redis_serves_what_it_holds(valkey: Callable[[], Engine]) -> None:
    """New values are read from the source; changes are made, and seen at once."""
    engine, source = valkey(), Source()
    async with Redis.from_url(engine.url) as redis:
        cache = Cache(redis)
        await cache.get_or_load(KEY, source.load, TTL)
        await redis.config_set("maxmemory", 1)
        assert await cache.get(KEY) == b"old"
        assert (
            await asyncio.gather(*(cache.get_or_load("image:2", source.load, TTL) for _ in "ab"))
            == [b"old"] * 2
        )
        await cache.fence([KEY, "image:2"])
        source.value = b"new"
        assert await cache.get_or_load(KEY, source.load, TTL) == b"new"
        await cache.drop([KEY, "image:2"])
        assert await cache.get_or_load(KEY, source.load, TTL) == b"new"
        assert await cache.get(KEY) is None
        await redis.config_set("maxmemory", 0)
        assert [await cache.get_or_load(KEY, source.load, TTL) for _ in "ab"] == [b"new"] * 2
        assert await cache.get(KEY) == b"new"
        await cache.close()


async def test_a_full_redis_is_never_stale(valkey: Callable[[], Engine]) -> None:
    """In any interleaving of a reader and two writers of a Redis without room."""
    engine = valkey()
    async with Redis.from_url(engine.url) as redis:
        cache, other = Cache(redis), Cache(redis)
        for steps in combinations(range(7), 4):
            await redis.config_set("maxmemory", 0)
            await redis.flushdb()
            scene = Scene(cache, other)
            await cache.get_or_load(KEY, scene.source.load, TTL)
            await redis.config_set("maxmemory", 1)
            order = [0 if step in steps else 1 + step % 2 for step in range(7)]
            await play(order, [scene.reader(), scene.writer(other), scene.writer(cache)])
            await scene.check()
        await cache.close()
        await other.close()


async def held(redis: Redis) -> tuple[int, int, int]:
    """Bytes of all values with their overhead, as they are, by the index and by the counter."""
    names = [name async for name in redis.scan_iter("cache:*") if b":image:" in name]
    values = [value for name in names if (value := await redis.get(name) or b"")[:1] == b"v"]
    (index,) = await redis.keys("cache:*:values")
    indexed = [int(member.partition(b":")[0]) for member in await redis.zrange(index, 0, -1)]
    (total,) = await redis.keys("cache:*:bytes")
    actual = sum(len(value) + aside.OVERHEAD_BYTES for value in values)
    return actual, sum(indexed), int(await redis.get(total))


async def test_all_processes_keep_within_one_budget(redis: Redis) -> None:
    """However many keep values, what they keep is counted once; the oldest go first."""
    caches = [Cache(redis, 100_000), Cache(redis, 100_000)]
    for number in range(60):
        source = Source(bytes([number]) * (3000 + number))
        await caches[number % 2].get_or_load(f"image:{number}", source.load, TTL)
        actual, indexed, counted = await held(redis)
        assert actual == indexed == counted <= 100_000
    kept = [number for number in range(60) if await caches[0].get(f"image:{number}")]
    assert kept == list(range(60 - len(kept), 60))
    assert len(kept) > 25
    for cache in caches:
        await cache.close()


async def test_a_value_above_the_budget_is_not_kept(redis: Redis) -> None:
    """And it evicts nothing; a budget of 0 is a cache that keeps nothing."""
    cache, nothing = Cache(redis, 5000), Cache(redis, 0)
    await cache.get_or_load(KEY, Source().load, TTL)
    assert await cache.get_or_load("image:2", Source(b"x" * 5000).load, TTL) == b"x" * 5000
    assert await nothing.get_or_load("image:3", Source().load, TTL) == b"old"
    assert [await cache.get(f"image:{number}") for number in (1, 2, 3)] == [b"old", None, None]
    await cache.close()
    await nothing.close()


async def test_changes_are_counted(redis: Redis, cache: Cache) -> None:
    """What a fence forgets is no longer counted, and what comes after it is."""
    source = Source()
    for size in (10, 2000, 2000, 30):
        await cache.fence([KEY])
        source.value = b"x" * size
        await cache.drop([KEY])
        await cache.get_or_load(KEY, source.load, TTL)
        actual, indexed, counted = await held(redis)
        assert actual == indexed == counted == size + 1 + aside.OVERHEAD_BYTES


async def test_a_fence_is_not_evicted(redis: Redis) -> None:
    """Where a value that has expired is still counted, the fence in its place stays."""
    cache = Cache(redis, 50_000)
    source = Source(b"x" * 1000)
    await cache.get_or_load("image:2", source.load, TTL)  # keeps the index
    await cache.get_or_load(KEY, source.load, 0.05)
    async with patience():
        while await cache.get(KEY):
            await asyncio.sleep(0.01)
    await cache.fence([KEY])
    for number in range(3, 100):
        await cache.get_or_load(f"image:{number}", source.load, TTL)
    assert await cache.get("image:2") is None
    source.value = b"new"
    assert await cache.get_or_load(KEY, source.load, TTL) == b"new"
    assert await cache.get(KEY) is None, "a reader has filled what a writer had fenced"
    await cache.close()


async def test_reading_leaves_room_for_the_queue(valkey: Callable[[], Engine]) -> None:
    """Readers of more pictures than a small Redis holds keep no job and no change out."""
    engine = valkey()
    async with Redis.from_url(engine.url) as redis:
        await redis.config_set("maxmemory", "8mb")
        caches = [Cache(redis, 2 * 1024 * 1024) for _ in range(2)]
        queue = Queue(redis, "jobs", limit=1000, attempts=1)
        source = Source(b"x" * 100_000)
        reading = [
            asyncio.create_task(cache.get_or_load(f"image:{number}", source.load, TTL))
            for number in [*range(100)] * 3
            for cache in caches
        ]
        while not all(reader.done() for reader in reading):
            await queue.send(b"job")
            await caches[0].fence([KEY])
            await caches[0].drop([KEY])
        assert {len(value or b"") for value in await asyncio.gather(*reading)} == {100_000}
        for cache in caches:
            await cache.close()


async def test_an_answer_is_not_much_larger_than_a_value(valkey: Callable[[], Engine]) -> None:
    """Many look-ups of large values are several round trips: Redis holds what it has to send."""
    engine = valkey()
    async with Redis.from_url(engine.url) as redis:
        cache, source = Cache(redis), Source(b"x" * 500_000)
        names = [f"image:{number}" for number in range(12)]
        await asyncio.gather(*(cache.get_or_load(name, source.load, TTL) for name in names))
        await redis.config_resetstat()
        found = await asyncio.gather(*(cache.get(name) for name in names))
        assert found == [b"x" * 500_000] * 12
        stats = await redis.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] == 4
        await cache.close()


async def test_batches() -> None:
    """Questions of one turn are one call.

    Those that come meanwhile wait for the next, at most so many at a time.
    """
    calls: list[list[int]] = []
    go_on = asyncio.Event()

    async def call(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        await go_on.wait()
        return [item * 2 for item in items]

    batcher = Batcher(call, 3)
    first = [batcher(n) for n in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [batcher(n) for n in (3, 4, 5, 6)]
    later[0].cancel()
    go_on.set()
    assert await asyncio.gather(*first, *later[1:]) == [2, 4, 8, 10, 12]
    assert calls == [[1, 2], [3, 4, 5], [6]]


async def test_a_failed_batch_fails_those_who_asked() -> None:
    """An error reaches everyone of the batch, and the next batch is called all the same."""

    async def call(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise LookupError("zero")
        return list(items)

    batcher = Batcher(call, 2)
    results: list[Any] = await asyncio.gather(
        *(batcher(n) for n in (1, 0, 2, 3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [LookupError, LookupError, int, int]
    assert await batcher(4) == 4


def test_memory_keeps_what_was_used_last() -> None:
    """When the room is used up the blob that was not used for longest goes first."""
    memory = Memory(80)
    for name in "abcdefgh":
        memory.put(name, b"x" * 10)
    assert memory.get("a") == b"x" * 10
    memory.put("i", b"y" * 10)
    assert (memory.get("b"), memory.get("a"), memory.bytes) == (None, b"x" * 10, 80)


@pytest.mark.parametrize("size", [0, 10, 11])
def test_memory_refuses_what_is_too_large(size: int) -> None:
    """One blob takes an eighth of the room at most."""
    memory = Memory(80)
    memory.put("a", b"x" * size)
    assert (memory.get("a") is not None) == (size <= 10)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30))))
def test_memory_counts_its_bytes(puts: list[tuple[str, int]]) -> None:
    """Whatever is put, the room is never exceeded and the count is right."""
    memory = Memory(100)
    for name, size in puts:
        memory.put(name, b"x" * size)
    kept = [value for name in "abcd" if (value := memory.get(name)) is not None]
    assert sum(map(len, kept)) == memory.bytes <= 100
