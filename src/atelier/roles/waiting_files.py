"""How many jobs for files wait, for the relay's metrics and `atelier doctor`. Knows no HTTP."""

from __future__ import annotations

from atelier.settings import Settings


def count(settings: Settings) -> int | None:
    """Jobs that no worker has taken yet; None where Celery is not installed.

    Raises what brokers raise.
    """
    try:
        from atelier.files import celery_app
    except ImportError:
        return None
    return celery_app.waiting(celery_app.broker_url(settings))
