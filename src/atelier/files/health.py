"""`/metrics`, `/healthz` and `/readyz` of a files worker: in its parent process, beside Celery's own loop.

The loop has no time for clients, so a thread answers; a step of Celery's makes its timer say that
the loop comes round.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from functools import partial
from typing import Any

from celery import bootsteps
from django.db import connection

from atelier.errors import AtelierError
from atelier.files import django_setup
from atelier.files.celery_app import app
from atelier.observe.exposition import ChildrensErrors
from atelier.observe.health import Check, bind, listening, pulse
from atelier.settings import Settings

BEAT_SECONDS = 1.0
LOOP = "celery"

CHILDREN = 256  # at once: the limit of `file_workers`

errors = ChildrensErrors(CHILDREN)
_listeners: list[socket.socket] = []


class Beat(bootsteps.StartStopStep):
    """The worker's timer beats while its loop runs."""

    requires = frozenset({"celery.worker.components:Timer"})

    def start(self, parent: Any) -> None:
        """Begin to beat: the worker is coming up."""
        pulse.beat(LOOP)
        self._entry = parent.timer.call_repeatedly(BEAT_SECONDS, partial(pulse.beat, LOOP))

    def stop(self, parent: Any) -> None:
        """No more: the worker is going down."""
        self._entry.cancel()


def serve(settings: Settings) -> None:
    """Listen, if the settings say where. Ends the worker when the port is taken."""
    if settings.metrics_port is None:
        return
    try:
        _listeners.append(bind(settings.host, settings.metrics_port))
    except AtelierError as error:
        raise SystemExit(f"atelier: {error.detail}") from error
    threading.Thread(
        target=asyncio.run, args=(_answer(settings),), name="vitals", daemon=True
    ).start()


def forget() -> None:
    """In a child: close what it has inherited, so that it does not keep the port of a parent that is gone.

    Its own log lines are counted where the parent sees them.
    """
    errors.install(os.getpid())
    while _listeners:
        _listeners.pop().close()


async def _answer(settings: Settings) -> None:
    checks: dict[str, Check] = {
        "database": partial(asyncio.to_thread, _database),
        "broker": partial(asyncio.to_thread, _broker),
    }
    if (
        settings.blobs_folder is not None
    ):  # the client of a bucket, once used, makes each later fork hang
        checks["blobs"] = django_setup.context().blobs.probe
    async with listening(settings, checks, listener=_listeners[0], before=errors.collect):
        await asyncio.Event().wait()


def _database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        django_setup.disconnect()


def _broker() -> None:
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0)


app.steps["worker"].add(Beat)
