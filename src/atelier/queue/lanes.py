"""Two queues side by side, so that who sends much does not make everybody else wait.

What one sender sends beyond its share of a period goes to the second queue. Workers take from both
at once, so neither waits for the end of the other. Nothing is kept but a counter that ends with
its period: when it is lost, the sender has a new share.
"""

from __future__ import annotations

from atelier.queue.stream import Queue

SHARE = 32  # jobs of one sender in a period that need not wait behind those of others
PERIOD_SECONDS = 60


class Lanes:
    """The queue of those who send little, and the one of all that is more."""

    def __init__(
        self, first: Queue, bulk: Queue, *, share: int = SHARE, seconds: int = PERIOD_SECONDS
    ) -> None:
        self.first, self.bulk = first, bulk
        self._share, self._seconds = share, seconds

    @property
    def queues(self) -> tuple[Queue, Queue]:
        """Both."""
        return self.first, self.bulk

    async def send(self, sender: int, body: bytes) -> str:
        """Add a job; return its id. Raises QueueFull."""
        counter = f"{self.first.name}:sent:{sender}"
        return await self.first.send_shared(
            body, self.bulk, counter, share=self._share, seconds=self._seconds
        )

    async def depth(self) -> int:
        """Count the outstanding jobs of both."""
        return sum([await queue.depth() for queue in self.queues])
