"""A Celery job as seen by the worker's parent process, which exports the metrics.

Children do the work, but their counters are invisible outside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.request import Request

from atelier.observe.metrics import FILE_JOBS, FILE_SECONDS

UNKNOWN = "unknown"  # the kind of a file whose job ended without a result

log = logging.getLogger(__name__)


class Counted(Request):
    """Counts the outcome, by the kind of file that the job returns."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Celery overrides the method in a subclass of this one, so ours is set on the instance.
        self._succeeded: Callable[..., Any] = self.on_success
        self.on_success: Callable[..., Any] = self._count_success

    def _count_success(self, failed__retval__runtime: Any, **options: Any) -> Any:
        failed, told, seconds = failed__retval__runtime
        if not failed:
            kind, _, outcome = str(told).strip("'").partition(" ")
            FILE_JOBS.labels(kind, outcome).inc()
            FILE_SECONDS.labels(kind).observe(seconds)
        return self._succeeded(failed__retval__runtime, **options)

    def on_failure(self, info: Any, *args: Any, **options: Any) -> Any:
        """The child died, or the job raised an unexpected error."""
        FILE_JOBS.labels(UNKNOWN, "lost").inc()
        error = getattr(info.exception, "exc", info.exception)  # wrapped, with its traceback
        log.warning("file %s: its job ended without a result: %r", self._file_id, error)
        return super().on_failure(info, *args, **options)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """The job hit a limit; after the hard one its child is killed."""
        if not soft:
            FILE_JOBS.labels(UNKNOWN, "timed-out").inc()
            log.warning("file %s: its job was stopped after %s s", self._file_id, timeout)
        return super().on_timeout(soft, timeout)

    @property
    def _file_id(self) -> object:
        """The file's id among the job's arguments; a foreign message may have none."""
        return self.args[0] if self.args else "-"
