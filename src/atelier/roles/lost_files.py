"""The files slice as the relay sees it: jobs that the broker has lost. Knows no HTTP.

Django and Celery are imported when they are needed: not by whoever only asks for the relay's name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atelier.settings import Settings


async def offer(settings: Settings) -> int:
    """Send again the jobs that the broker has lost; how many."""
    return await asyncio.to_thread(_reoffer, settings)


def _reoffer(settings: Settings) -> int:
    from atelier.files import house  # noqa: PLC0415 - see above

    if house.here().settings is not settings:
        house.move_in(settings)
    from atelier.files import jobs  # noqa: PLC0415 - see above

    return jobs.reoffer()
