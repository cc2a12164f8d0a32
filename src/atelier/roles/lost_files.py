"""The files slice as the relay sees it: jobs that the broker has lost.

Knows no HTTP. Django and Celery are imported on use: commands that only need the relay's name do
not load them.
"""

from __future__ import annotations

import asyncio
import threading

from atelier.settings import Settings

# A cancelled round goes on in its thread; the next one must not overtake it.
_moving_in = threading.Lock()


async def offer(settings: Settings) -> int:
    """Send the jobs again that the broker has lost; return how many."""
    return await asyncio.to_thread(_reoffer, settings)


def _reoffer(settings: Settings) -> int:
    from atelier.files import django_setup

    with _moving_in:
        if django_setup.context().settings is not settings:
            django_setup.configure(settings)
    from atelier.files import jobs

    return jobs.reoffer()
