"""A campaign: an instance under load is struck by a plan, comes to rest, and is judged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from atelier.bootstrap import SUBSCRIPTIONS
from atelier.database import Database
from atelier.events.bus.rabbitmq import RabbitBus
from atelier.events.bus.streams import StreamsBus
from tests import rabbitmq
from tests.chaos import evidence, judge
from tests.chaos.attacker import Attacker
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.load.client import Client
from tests.chaos.load.readers import EVERYTHING, SERVICE
from tests.chaos.readiness import Readiness
from tests.chaos.schedule import plan
from tests.chaos.victims import belonging
from tests.ports import free_port
from tests.system.instance import Instance
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import httpx2

    from atelier.events.bus import Bus
    from tests.events.bus.conftest import Proxy

SETTINGS = {
    "api_workers": "2",
    "grpc_workers": "2",
    "processor_workers": "2",
    "file_workers": "2",
    "reconcile_seconds": "5",
    "access_token_seconds": str(30 * 86_400),  # longer than any campaign
}
REDIS_SECONDS = 5.0
CLIENT_SECONDS = 300.0  # for the judge's own questions


@dataclass
class Result:
    """What a campaign has done and found."""

    seed: int
    seconds: float = 0.0
    blows: list[str] = field(default_factory=list)
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    codes: Counter[str] = field(default_factory=Counter)
    """Of WatchBooks, each time that it broke off."""
    seen: int = 0
    repeated: int = 0
    """Events that a subscriber saw, and how many deliveries were a repetition."""
    longest: float = 0.0
    faults: list[str] = field(default_factory=list)


class Campaign:
    """One instance in one folder, its load, and all that is done to it."""

    def __init__(
        self,
        instance: Instance,
        bus: Bus,
        proxy: Proxy | None,
        seed: int,
        log: Callable[[str], None],
    ) -> None:
        self._instance = instance
        self._bus = bus
        self._proxy = proxy
        self._log = log
        self.result = Result(seed)
        self.ledger = self.result.ledger
        self.user: httpx2.Client
        self.load: Load

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        """The load, working."""
        await self._bus.declare(SERVICE, EVERYTHING)  # before anything happens
        self.user = await asyncio.to_thread(self._instance.user)
        self.user.timeout = CLIENT_SECONDS
        token = self.user.headers["Authorization"].removeprefix("Bearer ")
        self.load = Load(
            Client(self._instance.url, token, self.ledger),
            self._bus,
            grpc_port=int(self._instance.environment["ATELIER_GRPC_PORT"]),
            token=token,
            seed=self.result.seed,
            ledger=self.ledger,
        )
        self.load.start()
        try:
            yield
        finally:
            await self.load.close()

    async def attack(self, *, blows: int | None, seconds: float | None) -> None:
        """Strike so many times or for so long, then wait until the instance works again."""
        began, result = time.monotonic(), self.result
        readiness = Readiness(self._instance.url)
        attacker = Attacker(self._instance, readiness, self.ledger, self._proxy)
        watching = asyncio.create_task(readiness.watch())
        try:
            for blow in islice(plan(result.seed, broker=self._proxy is not None), blows):
                if seconds is not None and time.monotonic() - began > seconds:
                    break
                self._log(f"{time.monotonic() - began:7.1f} s  {blow}")
                result.blows.append(str(blow))
                await attacker.strike(blow)
            await attacker.recovered()
        except AssertionError as error:
            self.ledger.fault(f"after {result.blows[-3:]}: {error}")
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            result.struck, result.missed = attacker.struck, attacker.missed
            result.longest, result.seconds = readiness.longest, time.monotonic() - began

    async def rest(self, database: Database) -> None:
        """Let the clients finish, and wait until there is nothing left to do."""
        for error in await self.load.finish():
            self.ledger.fault(f"a client ended with {error!r}")
        await self._come_to_rest(lambda: evidence.undone(database))
        await self._come_to_rest(lambda: asyncio.to_thread(evidence.queues, self._instance))
        await self._come_to_rest(lambda: self._on_the_way(database))

    async def _come_to_rest(self, left: Callable[[], Awaitable[dict[str, int]]]) -> None:
        """Wait until nothing is left; what never ends is the judge's to report."""
        last: dict[str, int] = {}

        async def done() -> bool:
            nonlocal last
            last = await left()
            await asyncio.sleep(0.2)
            return not last

        with suppress(AssertionError):
            await eventually(done)
        if last:
            self.ledger.fault(f"the instance does not come to rest: {last}")

    async def _on_the_way(self, database: Database) -> dict[str, int]:
        """Events that have not reached the followers."""
        ids = [str(row["event_id"]) for row in await database.fetch("SELECT event_id FROM outbox")]
        books = "SELECT count(*) FROM outbox WHERE subject LIKE 'books/%'"
        changes = (await database.fetch(books))[0]["count"]
        left = {
            "events on the way": sum(each not in self.load.subscriber.events for each in ids),
            "changes on the way": max(0, changes - len(self.load.watcher.changes)),
        }
        return {name: count for name, count in left.items() if count}

    async def judged(self, database: Database) -> list[str]:
        """Every fault that the clients saw or that the instance shows now."""
        found = await evidence.gather(self._instance, self.user, database)
        subscriber, watcher = self.load.subscriber, self.load.watcher
        self.result.codes = watcher.codes
        self.result.seen, self.result.repeated = len(subscriber.events), subscriber.repeated
        seen = list(subscriber.events.values())
        return await asyncio.to_thread(judge.faults, self.ledger, found, seen, watcher.changes)


@asynccontextmanager
async def prepared(
    seed: int, log: Callable[[str], None], amqp_url: str | None, folder: Path
) -> AsyncIterator[tuple[Campaign, Database]]:
    """A campaign on a new instance under load, and its database."""
    async with AsyncExitStack() as stack:
        proxy, settings = None, SETTINGS | {"grpc_port": str(free_port())}
        if amqp_url is not None:
            host = await stack.enter_async_context(
                rabbitmq.virtual_host(amqp_url, [*SUBSCRIPTIONS, SERVICE])
            )
            proxy, settings["amqp_url"] = await stack.enter_async_context(rabbitmq.proxied(host))
        instance = made_instance(folder, **settings)
        stack.push_async_callback(asyncio.to_thread, instance.close)
        await asyncio.to_thread(instance.start)
        bus = await stack.enter_async_context(_bus(instance))
        database = Database(evidence.address(instance, "database_url"))
        stack.push_async_callback(database.close)
        campaign = Campaign(instance, bus, proxy, seed, log)
        await stack.enter_async_context(campaign.loaded())
        yield campaign, database


def made_instance(folder: Path, **settings: str) -> Instance:
    """An instance that keeps its temporary files in its folder too."""
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    instance = Instance(folder, **settings)
    instance.environment["TMPDIR"] = str(temporary)
    return instance


@asynccontextmanager
async def _bus(instance: Instance) -> AsyncIterator[Bus]:
    """The bus of the instance, as another service reaches it."""
    if amqp_url := instance.environment.get("ATELIER_AMQP_URL"):
        rabbit = RabbitBus(amqp_url)
        yield rabbit
        await rabbit.close()
        return
    async with Redis.from_url(
        evidence.address(instance, "redis_url"),
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    ) as redis:
        yield StreamsBus(redis)


async def run(
    seed: int,
    *,
    blows: int | None = None,
    seconds: float | None = None,
    amqp_url: str | None = None,
    log: Callable[[str], None] = lambda _: None,
    folder: Path,
) -> Result:
    """Carry out a whole campaign in an empty folder, and end what it started."""
    async with prepared(seed, log, amqp_url, folder) as (campaign, database):
        await campaign.attack(blows=blows, seconds=seconds)
        log("the blows are over; waiting until the instance comes to rest")
        await campaign.rest(database)
        log("judging")
        campaign.result.faults = await campaign.judged(database)
    for pid, words in belonging(folder).items():
        campaign.result.faults.append(f"process {pid} outlived its instance: {' '.join(words)}")
    return campaign.result
