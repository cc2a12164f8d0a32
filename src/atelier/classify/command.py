"""One invocation of the command: journal, signals, progress and report around a `Run`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from atelier.classify import progress, report
from atelier.classify.engine import Recorder
from atelier.classify.journal import Journal
from atelier.classify.run import Doer, Run
from atelier.classify.telemetry import Telemetry

if TYPE_CHECKING:
    from rich.console import Console

DONE, SOME_FAILED, USAGE, GIVEN_UP, INTERRUPTED = 0, 1, 2, 3, 130

_log = logging.getLogger(__name__)


class Command:
    """One invocation: the run, its journal, and how to report it."""

    def __init__(
        self,
        journal: Journal,
        make: Callable[[Recorder], Doer],
        telemetry: Telemetry | None,
        *,
        console: Console,
        as_json: bool,
        seconds: float,
        retry_failed: bool,
    ) -> None:
        self._journal = journal
        self._files = journal.files
        self._make = make
        self._telemetry = telemetry
        self._retry_failed = retry_failed
        self._console = console
        self._as_json = as_json
        self._seconds = seconds
        self._stopped = False

    async def run(self) -> int:
        """Run to the end or the second SIGINT; print the report; return the exit code."""
        run = Run(self._journal, self._make, self._telemetry, retry_failed=self._retry_failed)
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(run.run())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP on purpose
                loop.add_signal_handler(number, self._interrupt, run, task)
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._print(run, sys.stderr))
        shown = asyncio.ensure_future(
            progress.show(lambda: self._view(run), self._console, self._seconds)
        )
        try:
            await task
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            await self._journal.checkpoint()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            shown.cancel()
            await asyncio.wait([shown])
        self._print(run, sys.stdout)
        self._journal.close()
        return self._exit_code(run)

    def _interrupt(self, run: Run, task: asyncio.Future[None]) -> None:
        if run.draining:
            self._stopped = True
            task.cancel()
            return
        _log.warning("stopping after what is in hand; once more stops at once")
        run.drain()

    def _exit_code(self, run: Run) -> int:
        if run.given_up:
            return GIVEN_UP
        if run.draining:
            return INTERRUPTED
        return SOME_FAILED if self._journal.totals.failed or run.folders_unreadable else DONE

    def _view(self, run: Run) -> progress.View:
        totals = self._journal.totals
        found = max(run.walk.count, self._journal.state.walk.position)
        failed = totals.failed
        return progress.View(
            totals.classified + failed,
            failed,
            found,
            walking=not run.walk.finished,
            waiting=run.waiting,
        )

    def _print(self, run: Run, stream: Any) -> None:
        made = self._report(run)
        stream.write(
            (msgspec.json.encode(made).decode() if self._as_json else report.text(made)) + "\n"
        )
        stream.flush()

    def _report(self, run: Run) -> dict[str, Any]:
        view, totals = self._view(run), self._journal.totals
        extra: dict[str, Any] = {
            "found": view.found,
            "walking": view.walking,
            "pending": view.found - view.done,
            "interrupted": run.draining,
            "given_up": run.given_up or None,
            "folders_unreadable": run.folders_unreadable,
            "folders_not_entered": self._journal.state.folders_not_entered,
            "results_file": str(self._files.results),
            "failures_file": str(self._files.failed),
        }
        if run.telemetry:
            told = run.telemetry
            extra["stats"] = {"sent": told.sent, "lost": told.dropped, "error": told.last_error}
        return report.summary(totals, extra)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that came first; the others followed from it."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
