"""Counts and durations of requests by route, beside what else the process measures.

Knows no route.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram

from atelier.observe import exposition
from atelier.observe.exposition import MEDIA_TYPE, STALE_SECONDS

__all__ = ["MEDIA_TYPE", "STALE_SECONDS", "Metrics"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds


class Metrics:
    """The metrics of one application.

    `folder` is where the processes of one port meet; None: this one is alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "atelier_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "atelier_http_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._exposition = exposition.Exposition(registry, exposition.REGISTRY, folder=folder)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request.

        `route` is a template, never a path, so that there are few of them.
        """
        key = (method, route, status)
        known = self._known.get(key)
        if known is None:
            known = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._known[key] = known
        known[0].inc()
        known[1].observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return self._exposition.text()

    def shared(self) -> AbstractAsyncContextManager[None]:
        """Keep the snapshot of this process fresh while inside."""
        return self._exposition.shared()
