"""The work queue: jobs as bytes on a Redis stream, delivered at least once, to one consumer at a time, oldest first.

Knows nothing of what the bytes mean. An entry leaves its stream when its job is done; the stream
is what is open.
"""

from __future__ import annotations

from atelier.queue.consumer import Job, Reject
from atelier.queue.stream import DeadLetter, Queue, QueueFull

__all__ = ["DeadLetter", "Job", "Queue", "QueueFull", "Reject"]
