"""A short campaign: what `make chaos` does for as long as one likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos import report
from tests.chaos.campaign import run
from tests.chaos.schedule import FLUSH, KILL, opening
from tests.chaos.victims import GUARD, KINDS

if TYPE_CHECKING:
    from pathlib import Path

SEED = 1


async def test_killing_every_part_loses_nothing(chaos_folder: Path) -> None:
    """Each kind of process is killed under load, alone and in pairs, and Redis wiped.

    Everything acknowledged is there once, everything else is not, and nothing is left over.
    """
    blows = len(opening(broker=False))
    result = await run(SEED, blows=blows, log=print, folder=chaos_folder)
    assert not result.faults, report.text(result)
    # A guard that was killed does not come back before its supervisor does.
    assert {kind for kind in KINDS if not result.struck[KILL, kind]} <= {GUARD}
    assert result.struck[FLUSH, "redis"] == 1
    assert result.ledger.acknowledged > blows


@pytest.mark.slow
@pytest.mark.rabbitmq
async def test_the_same_over_rabbitmq(chaos_folder: Path, amqp_url: str) -> None:
    """With the connections to the broker cut as well."""
    blows = len(opening(broker=True))
    result = await run(SEED, blows=blows, amqp_url=amqp_url, log=print, folder=chaos_folder)
    assert not result.faults, report.text(result)
