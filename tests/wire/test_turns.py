"""Turns: clients that wait are served in rotation, and no one's crowd keeps another out."""

from __future__ import annotations

import asyncio

from atelier.errors import TooManyRequests, Unavailable
from atelier.wire.turns import Turns


class Scene:
    """Who has asked for the only place, and who had it, in order."""

    def __init__(self, *, per_client: int = 99, total: int = 99) -> None:
        self.turns = Turns(1, per_client=per_client, total=total)
        self.served: list[str] = []
        self.asked: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        """Ask for turns; a name begins with its client."""
        for name in names:
            self.asked[name] = asyncio.create_task(self._use(name))
            await asyncio.sleep(0)

    async def _use(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.served.append(name)

    async def end(self) -> dict[str, type[BaseException]]:
        """Wait until everybody had a turn or none; the errors of these."""
        await asyncio.wait(self.asked.values())
        failed = {
            name: type(one.exception())
            for name, one in self.asked.items()
            if not one.cancelled() and one.exception() is not None
        }
        # Nothing is left behind: the place is free.
        assert not self.turns._queues
        assert (self.turns._waiting, self.turns._free) == (0, 1)
        return failed


async def test_clients_have_turns_in_rotation() -> None:
    """One that comes after another's crowd waits for one of it, and each client's keep order."""
    scene = Scene()
    async with scene.turns.turn("x"):
        await scene.ask("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert await scene.end() == {}
    assert scene.served == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_of_one_client_so_many_wait() -> None:
    """More are refused at once, and another client is not."""
    scene = Scene(per_client=2)
    async with scene.turns.turn("x"):
        await scene.ask("a1", "a2", "a3", "b1")
    assert await scene.end() == {"a3": TooManyRequests}
    assert scene.served == ["a1", "b1", "a2"]


async def test_a_full_queue_has_room_for_who_waits_with_less() -> None:
    """The client that waits with most loses its last place; who has as many gets none."""
    scene = Scene(total=4)
    async with scene.turns.turn("x"):
        await scene.ask("a1", "a2", "a3", "b1", "b2", "a4")
    assert await scene.end() == {"a3": Unavailable, "a4": Unavailable}
    assert scene.served == ["a1", "b1", "a2", "b2"]


async def test_who_goes_away_leaves_no_hole() -> None:
    """Cancelled while it waits, or as its turn comes, a request keeps nobody else from theirs."""
    scene = Scene()
    async with scene.turns.turn("x"):
        await scene.ask("a1", "a2", "b1", "c1")
        scene.asked["a2"].cancel()
    scene.asked["a1"].cancel()  # it has been given its turn and has not run since
    assert await scene.end() == {}
    assert scene.served == ["b1", "c1"]
