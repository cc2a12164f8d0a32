"""Carries a plan out against a running instance, and starts it again when its supervisor dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from tests.chaos.schedule import CUT, FLUSH, KILL, STOP, Blow
from tests.chaos.victims import GUARD, SUPERVISOR, kill, stopped, victims
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.chaos.ledger import Ledger
    from tests.chaos.readiness import Readiness
    from tests.events.bus.conftest import Proxy
    from tests.system.instance import Instance

APPEAR_SECONDS = 20.0  # for a victim that is just being started
LOOK_SECONDS = 0.2
WORK = 3  # things acknowledged after a calm blow's predecessor: the load must get on
TAIL_CHARACTERS = 3000


class Attacker:
    """Strikes one instance; without a `proxy` there is no broker to be cut off."""

    def __init__(
        self, instance: Instance, readiness: Readiness, ledger: Ledger, proxy: Proxy | None
    ) -> None:
        self._instance = instance
        self._readiness = readiness
        self._ledger = ledger
        self._proxy = proxy
        self.struck: Counter[tuple[str, str]] = Counter()
        """How often each action hit each kind of process."""
        self.missed: Counter[str] = Counter()

    async def strike(self, blow: Blow) -> None:
        """Carry a blow out with its second fault, and see to it that there is a supervisor.

        Raises AssertionError when the instance does not recover.
        """
        if blow.calm:
            await self._readiness.again()
            before = self._ledger.acknowledged
            await eventually(
                lambda: self._ledger.acknowledged >= before + WORK,
                "the instance is ready, but acknowledges nothing",
            )
        await self._carry_out(blow)
        await self._look_after()

    async def recovered(self) -> None:
        """Wait until the instance works again. Raises AssertionError when it does not."""
        await self._readiness.again()

    async def _carry_out(self, blow: Blow) -> None:
        await asyncio.sleep(blow.pause)
        if blow.action == FLUSH:
            await self._flush()
        elif blow.action == CUT:
            await self._cut(blow.seconds)
        else:
            await self._hit(blow)
        if blow.then is not None:
            await self._carry_out(blow.then)

    async def _hit(self, blow: Blow) -> None:
        pid = await self._find(blow)
        if pid is None:
            self.missed[blow.victim] += 1
            return
        self.struck[blow.action, blow.victim] += 1
        if blow.action == STOP:
            with stopped(pid):
                await asyncio.sleep(blow.seconds)
        elif blow.victim == SUPERVISOR:
            await self._kill_supervisor()
        else:
            kill(pid)

    async def _find(self, blow: Blow) -> int | None:
        """A process of the kind, unless none comes up in a while; a dead guard never does."""
        looks = 1 if blow.victim == GUARD else round(APPEAR_SECONDS / LOOK_SECONDS)
        for _ in range(looks):
            assert self._instance.process is not None
            if pids := victims(self._instance.process.pid).get(blow.victim):
                return pids[int(blow.which * len(pids))]
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _kill_supervisor(self) -> None:
        """Kill it, wait until its whole family has gone, and start another."""
        family = self._instance.members()
        self._instance.kill()
        await eventually(
            lambda: not self._instance.survivors(family),
            lambda: f"left by a killed supervisor: {self._instance.survivors(family)}",
        )
        self._instance.launch()

    async def _look_after(self) -> None:
        """A supervisor that ended by itself is a fault, and is started again."""
        process = self._instance.process
        assert process is not None
        if process.poll() is not None:
            tail = self._instance.log.read_text()[-TAIL_CHARACTERS:]
            self._ledger.fault(f"the supervisor ended with {process.returncode}:\n{tail}")
            self._instance.launch()

    async def _flush(self) -> None:
        """Wipe Redis, which may have to come back first."""

        def flushed() -> bool:
            with suppress(RedisError, OSError):
                self._instance.flush_redis()
                return True
            return False

        await eventually(lambda: asyncio.to_thread(flushed), "Redis does not come back")
        self.struck[FLUSH, "redis"] += 1

    async def _cut(self, seconds: float) -> None:
        """Drop every connection to the broker, and refuse new ones for a while."""
        assert self._proxy is not None
        await self._proxy.cut()
        await asyncio.sleep(seconds)
        await self._proxy.mend()
        self.struck[CUT, "broker"] += 1


def kills(struck: Counter[tuple[str, str]]) -> int:
    """How many processes were killed."""
    return sum(count for (action, _), count in struck.items() if action == KILL)
