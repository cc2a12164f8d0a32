"""Offers of jobs to the image processor: sent after a commit, and again when they were lost."""

from __future__ import annotations

from datetime import timedelta

from atelier.errors import AtelierError
from atelier.events.messages import ProcessImage, encode
from atelier.queue import Lanes, Queue

CLOCK_SLACK_SECONDS = 2  # between the looks at the queue's clock and at the database's


async def offer(lanes: Lanes, space_id: int, job: ProcessImage) -> bool:
    """Send a job whose row is committed, as one of its space.

    False if the queue does not take it: the reconciler will offer it again.
    """
    try:
        await lanes.send(space_id, encode(job))
    except AtelierError:
        return False
    return True


async def patience(seconds: float, *queues: Queue) -> timedelta:
    """Return how long ago a row must have been offered for its job to be lost; `seconds` at least.

    Jobs leave a queue only when they are done, and queues are read in order, so a row that was
    offered before the oldest outstanding job of any queue on its way has lost its own. Rows behind
    that job are still waiting for their turn.
    """
    ages = [await queue.oldest() + CLOCK_SLACK_SECONDS for queue in queues]
    return timedelta(seconds=max(seconds, *ages))
