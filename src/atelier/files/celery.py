"""The files worker, as `celery -A atelier.files worker` finds it: the app and its signals."""

from __future__ import annotations

import logging
import os
import warnings

from celery import signals
from celery.exceptions import SecurityWarning

from atelier.files import django_setup
from atelier.files.celery_app import app
from atelier.observe import logs, systemd, tracing
from atelier.observe.exposition import count_errors
from atelier.startup.openfiles import raise_open_files
from atelier.up.engines.process import die_with_parent

__all__ = ["app"]

BY_UUID = ("celery.worker.strategy", "celery.app.trace")  # log jobs without the file's id

log = logging.getLogger(__name__)


@signals.setup_logging.connect
def _log(**_: object) -> None:
    """Keep our logging: Celery sets up the root logger unless this signal has a receiver."""
    logs.setup("files", django_setup.context().settings)
    for name in BY_UUID:
        logging.getLogger(name).setLevel(logging.WARNING)
    count_errors()


@signals.celeryd_init.connect
def _quiet(**_: object) -> None:
    """Suppress Celery's long warning about root; `_as_root` logs one line instead."""
    warnings.filterwarnings("ignore", category=SecurityWarning)


@signals.worker_ready.connect
def _up(**_: object) -> None:
    systemd.ready()


@signals.worker_ready.connect
def _as_root(**_: object) -> None:
    if os.geteuid() == 0:
        log.warning("running as root; a user of its own is better")


@signals.worker_init.connect
def _ready(**_: object) -> None:
    raise_open_files()
    from atelier.files import health
    from atelier.files.ownership import require_own_store

    moved = django_setup.configure(django_setup.context().settings)
    require_own_store()  # it forks: must run before any thread starts
    health.serve(moved.settings)


@signals.worker_process_init.connect
def _open(**_: object) -> None:
    """In each child after the fork: end with the worker, and start decoders of its own."""
    from atelier.files import health, inspector

    die_with_parent()
    django_setup.context().reopen()
    health.forget()
    tracing.start("files", django_setup.context().settings)
    inspector.start(django_setup.context().settings)


@signals.worker_process_shutdown.connect
def _close(**_: object) -> None:
    from atelier.files import inspector

    inspector.stop()
    tracing.stop()
