"""Celery on Redis as it would be set up for work that must not be lost.

Run by `benchmarks/work_queue.py`.

Needs, in a virtual environment of its own: celery[redis]==5.7.*
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from celery import Celery  # type: ignore[import-not-found]

BROKER, COUNT = os.environ["PEER_BROKER"], int(os.environ["PEER_COUNT"])

app = Celery("peer", broker=BROKER)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)
seen: list[float] = []
begun: list[float] = []


@app.task(name="peer.work")  # type: ignore[misc]
def work(_body: str, sent: int) -> None:
    """Note when it came; after the last one say what all have cost."""
    begun.append(time.process_time())
    seen.append((time.monotonic_ns() - sent) / 1e6)
    if len(seen) == COUNT:
        answer: dict[str, Any] = {
            "micros": (time.process_time() - begun[0]) / (COUNT - 1) * 1e6,
            "latencies": seen,
        }
        print(json.dumps(answer), flush=True)


def send(pause: float) -> None:
    """All jobs, with a pause between them."""
    with app.pool.acquire() as connection:
        for _ in range(COUNT):
            work.apply_async(("x" * 200, time.monotonic_ns()), connection=connection)
            time.sleep(pause)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(float(sys.argv[2]))
    else:  # one process and no pipes between: the cheapest of Celery's pools
        app.worker_main(["worker", "--pool=solo", "--concurrency=1", "--loglevel=ERROR",
                         "--without-gossip",
                         "--without-mingle", "--without-heartbeat"])  # fmt: skip
