"""What this process measures, for Prometheus, and how several processes of one port show the metrics of all of them.

Knows no role and no protocol. Each process writes a snapshot beside the others'; whoever is asked
shows every fresh one, told apart by the label `worker`, so that a process that is gone disappears
instead of turning counters back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import platform
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Info,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.parser import text_string_to_metric_families

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SNAPSHOT_SECONDS = 2  # how old what one process shows of another may be
STALE_SECONDS = 15  # a process that has not written for so long is gone

disable_created_metrics()  # type: ignore[no-untyped-call] # a series beside each counter that nobody asks for
REGISTRY = (
    CollectorRegistry()
)  # of this process; what a role does not do has no samples and is not shown
ProcessCollector(registry=REGISTRY)
Info("atelier_build", "Version of Atelier and of Python.", registry=REGISTRY).info(
    {"version": version("atelier"), "python": platform.python_version()}
)
ERRORS = Counter("atelier_log_errors", "Log lines of level ERROR or above.", registry=REGISTRY)

log = logging.getLogger(__name__)


class ErrorCounter(logging.Handler):
    """Counts log lines that somebody should look at."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one more line."""
        ERRORS.inc()


class ChildrensErrors(logging.Handler):
    """Counts the ERROR lines of forked children in memory that they share with their parent, which makes this."""

    def __init__(self, children: int) -> None:
        super().__init__(logging.ERROR)
        self._slots = memoryview(mmap.mmap(-1, 8 * children)).cast("Q")
        self._own = self._seen = 0

    def install(self, child: int) -> None:
        """In a child, by any number of its own: those that live at once hardly ever share a slot."""
        self._own = child % len(self._slots)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one more line."""
        self._slots[self._own] += 1

    async def collect(self) -> None:
        """In the parent: add what came since to what is shown."""
        total = sum(self._slots)
        ERRORS.inc(total - self._seen)
        self._seen = total


def count_errors() -> None:
    """Count the ERROR lines of this process from now on; after `logs.setup`, which begins anew."""
    logging.getLogger().addHandler(ErrorCounter())


class Exposition:
    """The metrics of one process.

    `folder` is where the processes of one port meet; None: this one is alone.
    """

    def __init__(self, *registries: CollectorRegistry, folder: Path | None = None) -> None:
        self._registries = registries
        self._snapshot = folder / f"{os.getpid()}-{secrets.token_hex(4)}.prom" if folder else None

    def text(self) -> bytes:
        """The metrics in the text format that Prometheus reads."""
        if self._snapshot is None:
            return _text(self._own())
        return _text(_merge(self._everybody(self._snapshot.parent)))

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Keep the snapshot of this process fresh while inside."""
        if self._snapshot is None:
            yield
            return
        task = asyncio.create_task(self._keep_writing(self._snapshot))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.suppress(OSError):
                self._snapshot.unlink()

    async def _keep_writing(self, snapshot: Path) -> None:
        while True:
            try:
                snapshot.parent.mkdir(parents=True, exist_ok=True)
                draft = snapshot.with_suffix(".draft")
                draft.write_bytes(_text(self._own()))
                draft.replace(snapshot)
            except OSError as error:
                log.warning("the other processes do not see these metrics: %s", error.strerror)
            await asyncio.sleep(SNAPSHOT_SECONDS)

    def _own(self) -> Iterator[Metric]:
        for registry in self._registries:
            yield from (family for family in registry.collect() if family.samples)

    def _everybody(self, folder: Path) -> Iterator[tuple[str, Iterable[Metric]]]:
        """Each process's name and metrics; our own are of this moment."""
        own = self._snapshot.stem if self._snapshot else ""
        yield own, self._own()
        for path in sorted(folder.glob("*.prom")):
            with contextlib.suppress(FileNotFoundError):  # its process has just ended
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
                elif path.stem != own:
                    yield path.stem, text_string_to_metric_families(path.read_text())


class _Families:
    """A collector of what has been collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _text(families: Iterable[Metric]) -> bytes:
    collected = CollectorRegistry()
    collected.register(_Families(list(families)))
    return generate_latest(collected)


def _merge(everybody: Iterable[tuple[str, Iterable[Metric]]]) -> list[Metric]:
    merged: dict[str, Metric] = {}
    for worker, families in everybody:
        for family in families:
            into = merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    return list(merged.values())
