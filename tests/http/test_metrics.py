"""Counts of one process and of several on one port."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from atelier.http.app import create_app
from atelier.http.metrics import STALE_SECONDS, Metrics
from atelier.settings import Settings
from tests.http.support import make_resources, served
from tests.ports import free_ports
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def counts(metrics: Metrics) -> list[float]:
    """The counts of `/a`, one for each process."""
    families = {
        family.name: family
        for family in text_string_to_metric_families(metrics.exposition().decode())
    }
    found = [
        sample
        for sample in families["atelier_http_requests"].samples
        if sample.labels["route"] == "/a"
    ]
    assert len({sample.labels.get("worker") for sample in found}) == len(found)
    return sorted(sample.value for sample in found)


async def test_alone_there_is_no_folder() -> None:
    """One process needs none."""
    metrics = Metrics()
    async with metrics.shared():
        metrics.observe("GET", "/a", 200, 0.001)
    assert counts(metrics) == [1.0]


async def test_several_processes_show_each_other(tmp_path: Path) -> None:
    """Any process reports all of them, each under its own `worker`, each family once."""
    one, two = Metrics(tmp_path), Metrics(tmp_path)
    one.observe("GET", "/a", 200, 0.001)
    two.observe("GET", "/a", 200, 0.001)
    two.observe("GET", "/a", 200, 0.001)
    async with one.shared(), two.shared():
        await eventually(lambda: len(list(tmp_path.glob("*.prom"))) == 2)
        assert counts(one) == counts(two) == [1.0, 2.0]
        assert one.exposition().count(b"# TYPE atelier_http_requests_total counter") == 1
    assert not list(tmp_path.iterdir())


async def test_a_killed_process_is_forgotten(tmp_path: Path) -> None:
    """Its last snapshot counts for a while, then it is removed."""
    dead, other = tmp_path / "1-dead.prom", Metrics()
    for _ in range(9):
        other.observe("GET", "/a", 200, 0.001)
    dead.write_bytes(other.exposition())
    metrics = Metrics(tmp_path)
    metrics.observe("GET", "/a", 200, 0.001)
    assert counts(metrics) == [1.0, 9.0]
    os.utime(dead, (time.time() - STALE_SECONDS - 1,) * 2)
    assert counts(metrics) == [1.0]
    assert not dead.exists()


async def test_an_unwritable_folder_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process goes on, and says that the others do not see it."""
    (tmp_path / "file").touch()
    metrics = Metrics(tmp_path / "file" / "metrics")
    async with metrics.shared():
        await eventually(lambda: "the other processes do not see these metrics" in caplog.text)
        metrics.observe("GET", "/a", 200, 0.001)
        assert counts(metrics) == [1.0]


async def test_with_a_port_of_their_own_they_are_not_public(tmp_path: Path) -> None:
    """With `metrics_port` set `/metrics` is there and not on the port of clients."""
    (port,) = free_ports(1)
    settings = Settings(data=tmp_path, metrics_port=port, allowed_hosts=("*",))
    app = create_app(make_resources(settings), [], checks={})
    async with served(app) as public, httpx2.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{public}/metrics")).status_code == 404
        assert (await client.get(f"http://127.0.0.1:{public}/healthz")).status_code == 200
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.status_code == 200
        assert 'route="/healthz"' in answer.text
        assert (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
