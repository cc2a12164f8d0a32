"""A worker process for the queue's tests: `worker.py URL QUEUE CONSUMER LEASE BATCH`.

The body of a job says what to do; each beginning and end is a line on standard output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from redis.asyncio import Redis

from atelier.queue import Job, Queue


def say(*words: object) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def handle(job: Job) -> None:
    """Obey `sleep SECONDS`, `hang`, `await PATH` and `die`; anything else is done at once.

    `hang` never ends in its first delivery; `await` ends when there is such a file.
    """
    say("began", job.body.decode(), job.deliveries)
    match job.body.decode().split():
        case ["sleep", seconds]:
            await asyncio.sleep(float(seconds))
        case ["hang"] if job.deliveries == 1:
            await asyncio.Event().wait()
        case ["await", path]:
            while not Path(path).exists():
                await asyncio.sleep(0.01)
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
    say("done", job.body.decode(), job.deliveries)


async def on_dead(job: Job, reason: str) -> None:
    """Say so."""
    say("dead", job.body.decode(), reason)


async def main(url: str, name: str, consumer: str, lease: str, batch: str) -> None:
    """Consume until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Redis.from_url(url) as redis:
        queue = Queue(redis, name, limit=1000, attempts=2, lease=float(lease), backoff=0.1)
        say("ready")
        await queue.consume(
            handle, consumer=consumer, batch=int(batch), on_dead=on_dead, stop=stop
        )
    say("left")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
