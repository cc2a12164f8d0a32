"""Counts the waiting jobs for files, for the relay's metrics and `atelier doctor`.

Knows no HTTP.
"""

from __future__ import annotations

from atelier.settings import Settings


def count(settings: Settings) -> int | None:
    """Count the jobs that no worker has taken; None where Celery is not installed.

    Raises the broker's errors.
    """
    try:
        from atelier.files import celery_app
    except ImportError:
        return None
    return celery_app.waiting(celery_app.broker_url(settings))
