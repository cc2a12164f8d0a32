"""Joins the requests of many tasks in one loop turn into one call.

Knows nothing of the requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Answers the requests of many tasks with one call at a time.

    While a call is under way the next batch collects. A request that comes during a call is
    answered by the next one: the answer of the current call might be older than the request.
    """

    def __init__(
        self, call: Callable[[Sequence[Item]], Awaitable[list[Answer]]], limit: int
    ) -> None:
        self._call = call
        self._limit = limit
        self._asked: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._calling: asyncio.Task[None] | None = None

    def __call__(self, item: Item) -> asyncio.Future[Answer]:
        """Ask; the future gets the answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._asked.append((item, future))
        if self._calling is None:
            self._calling = loop.create_task(self._answer())
        return future

    async def _answer(self) -> None:
        try:
            while self._asked:
                # Only those that asked before the call: later ones may need a newer answer.
                asked, self._asked = self._asked[: self._limit], self._asked[self._limit :]
                try:
                    answers = await self._call([item for item, _ in asked])
                except Exception as error:
                    _fail([future for _, future in asked], error)
                else:
                    _settle([future for _, future in asked], answers)
        finally:
            self._calling = None


def _settle(futures: Sequence[asyncio.Future[Answer]], answers: Sequence[Answer]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():  # else cancelled
            future.set_result(answer)


def _fail(futures: Sequence[asyncio.Future[Answer]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
