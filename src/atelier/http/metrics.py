"""Counts and durations of requests by route, for Prometheus; with several processes on one port, those of all of them.

Knows no route. Each process writes a snapshot beside the others'; whoever is asked shows every fresh one, told apart by
the label `worker`, so that a process that is gone disappears instead of turning counters back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
SNAPSHOT_SECONDS = 2  # how old what one process shows of another may be
STALE_SECONDS = 15  # a process that has not written for so long is gone

log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one process. `folder` is where the processes of one port meet; None: this one is alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "atelier_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "atelier_http_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._snapshot = folder / f"{os.getpid()}-{secrets.token_hex(4)}.prom" if folder else None

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. `route` is a template, never a path, so that there are few of them."""
        key = (method, route, status)
        known = self._known.get(key)
        if known is None:
            known = self._requests.labels(method, route, str(status)), self._seconds.labels(method, route)
            self._known[key] = known
        known[0].inc()
        known[1].observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        if self._snapshot is None:
            return generate_latest(self.registry)
        merged = CollectorRegistry()
        merged.register(_Families(_merge(self._everybody(self._snapshot.parent))))
        return generate_latest(merged)

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
                draft.write_bytes(generate_latest(self.registry))
                draft.replace(snapshot)
            except OSError as error:
                log.warning("the other processes do not see these metrics: %s", error.strerror)
            await asyncio.sleep(SNAPSHOT_SECONDS)

    def _everybody(self, folder: Path) -> Iterator[tuple[str, Iterable[Metric]]]:
        """Each process's name and metrics; our own are of this moment."""
        own = self._snapshot.stem if self._snapshot else ""
        yield own, self.registry.collect()
        for path in sorted(folder.glob("*.prom")):
            with contextlib.suppress(FileNotFoundError):  # its process has just ended
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
                elif path.stem != own:
                    yield path.stem, text_string_to_metric_families(path.read_text())


class _Families:
    """A collector of what has been collected."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _merge(everybody: Iterable[tuple[str, Iterable[Metric]]]) -> list[Metric]:
    merged: dict[str, Metric] = {}
    for worker, families in everybody:
        for family in families:
            into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    return list(merged.values())
