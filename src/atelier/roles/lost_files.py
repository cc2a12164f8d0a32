"""The files slice as the relay sees it: jobs that the broker has lost. Knows no HTTP.

Django and Celery are imported when they are needed: not by whoever only asks for the relay's name.
"""

from __future__ import annotations

import asyncio
import threading

from atelier.settings import Settings

_moving_in = (
    threading.Lock()
)  # a round that is cancelled goes on in its thread; the next one must not overtake it


async def offer(settings: Settings) -> int:
    """Send again the jobs that the broker has lost; how many."""
    return await asyncio.to_thread(_reoffer, settings)


def _reoffer(settings: Settings) -> int:
    from atelier.files import django_setup

    with _moving_in:
        if django_setup.context().settings is not settings:
            django_setup.configure(settings)
    from atelier.files import jobs

    return jobs.reoffer()
