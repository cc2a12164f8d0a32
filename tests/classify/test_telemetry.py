"""Statistics posted to a real local service: each sample once, and counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from atelier.classify.outcomes import Result
from atelier.classify.telemetry import BATCH_MOST, Telemetry
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.classify.tool import Service

SAMPLE = Result(0, "a.jpg", "cat", 0.5, (1.0,), 2.5, 10)


async def cut_off(telemetry: Telemetry, service: Service, *, later: int, seconds: float) -> None:
    """End a run while its first batch is at the service and `later` more samples wait."""
    telemetry.add(SAMPLE)
    work = asyncio.create_task(telemetry.run())
    await eventually(lambda: asyncio.to_thread(lambda: service.counts()["stats"]))
    for _ in range(later):
        telemetry.add(SAMPLE)
    work.cancel()
    await asyncio.wait([work])
    await telemetry.finish(seconds)


def test_the_end_waits_for_the_batch_under_way(start_service: Callable[..., Service]) -> None:
    """A batch that the service has but has not answered is waited for, then the rest is sent."""
    service = start_service("--stats-latency", "0.5")
    telemetry = Telemetry(f"{service.url}/stats")
    asyncio.run(cut_off(telemetry, service, later=BATCH_MOST + 1, seconds=PATIENCE_SECONDS))
    assert (telemetry.sent, telemetry.dropped) == (BATCH_MOST + 2, 0)
    assert service.counts()["stats"] == BATCH_MOST + 2


def test_a_service_that_never_answers_does_not_keep_a_run(
    start_service: Callable[..., Service],
) -> None:
    """When the time at the end is over, what has no answer is lost, and the report can say why."""
    service = start_service("--stats-latency", "3600")
    telemetry = Telemetry(f"{service.url}/stats")
    asyncio.run(cut_off(telemetry, service, later=3, seconds=0.1))
    assert (telemetry.sent, telemetry.dropped) == (0, 4)
    assert telemetry.last_error == "no answer before the run ended"
    assert service.counts()["stats"] == 1
