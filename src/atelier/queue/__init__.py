"""The work queue on a Redis stream: at least once, one consumer per job, oldest first.

Jobs are bytes, of whose meaning it knows nothing. An entry leaves its stream when its job is done;
the stream is the set of open jobs.
"""

from __future__ import annotations

from atelier.queue.consumer import Job, Reject
from atelier.queue.lanes import Lanes
from atelier.queue.stream import DeadLetter, Queue, QueueFull

__all__ = ["DeadLetter", "Job", "Lanes", "Queue", "QueueFull", "Reject"]
