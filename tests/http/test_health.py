"""Alive, ready, measured."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import pytest
from pydantic import SecretStr

from atelier.http.app import create_app
from atelier.observe import health
from atelier.roles import api
from tests.http.support import in_process, make_resources, served
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.http.resources import Resources
    from atelier.settings import Settings


async def test_alive_needs_nothing(resources: Resources) -> None:
    """The process answers though every engine is away."""
    async with in_process(create_app(resources, [])) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_when_every_dependency_answers(
    settings: Settings, database_url: str, redis_url: str
) -> None:
    """Database, Redis and blobs are asked."""
    resources = make_resources(settings, database_url, redis_url)
    async with in_process(create_app(resources, [])) as client:
        answer = await client.get("/readyz")
    await resources.database.close()
    await resources.redis.aclose()
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": "ok", "redis": "ok", "blobs": "ok"},
    }


async def test_not_ready_names_what_is_away(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    """503 says which; why is in the log only."""
    with caplog.at_level(logging.WARNING):
        async with in_process(create_app(resources, [])) as client:
            answer = await client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (
        503,
        "application/problem+json",
    )
    assert answer.json()["checks"] == {
        "database": "unreachable",
        "redis": "unreachable",
        "blobs": "ok",
    }
    assert "Error" not in answer.text
    assert "database is not ready: " in caplog.text


async def test_ready_without_the_broker(settings: Settings, resources: Resources) -> None:
    """An unreachable broker is shown but does not fail the API, which accepts files without it."""
    away = settings.model_copy(update={"amqp_url": SecretStr("amqp://guest:guest@127.0.0.1:1/")})
    async with in_process(create_app(resources, [], checks=api.broker(away))) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (200, {"broker": "unreachable"})
    assert api.broker(settings) == {}


@pytest.mark.rabbitmq
async def test_the_broker_is_asked(
    settings: Settings, resources: Resources, amqp_url: str
) -> None:
    """One that answers is ok."""
    there = settings.model_copy(update={"amqp_url": SecretStr(amqp_url)})
    async with in_process(create_app(resources, [], checks=api.broker(there))) as client:
        assert (await client.get("/readyz")).json()["checks"] == {"broker": "ok"}


async def test_a_folder_that_is_a_file_is_not_ready(resources: Resources, tmp_path: Path) -> None:
    """Blobs cannot be written below a file."""
    (tmp_path / "blobs").touch(0o444)
    async with in_process(create_app(resources, [])) as client:
        assert (await client.get("/readyz")).json()["checks"]["blobs"] == "unreachable"


async def test_dependencies_are_asked_at_once_and_not_for_long(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them waits for the other here; one that never answers is called slow."""
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.5)
    first, second = asyncio.Event(), asyncio.Event()

    async def one() -> None:
        first.set()
        await second.wait()

    async def two() -> None:
        second.set()
        await first.wait()

    checks = {"one": one, "two": two, "never": asyncio.Event().wait}
    async with in_process(create_app(resources, [], checks=checks)) as client:
        answer = await client.get("/readyz")
    assert answer.json()["checks"] == {"one": "ok", "two": "ok", "never": "slow"}


async def test_metrics_are_in_prometheus_form(resources: Resources) -> None:
    """With the media type that Prometheus asks for, and the process's own figures."""
    async with in_process(create_app(resources, [])) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "process_resident_memory_bytes" in answer.text


async def test_metrics_report_outages_without_a_readiness_check(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metric of dependencies, on which an alert depends, does not wait for `/readyz`."""
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.01)
    away = asyncio.Event()

    async def ask() -> None:
        if away.is_set():
            raise OSError("away")

    async def says(line: str) -> bool:
        return line in (await client.get("/metrics")).text.splitlines()

    app = create_app(resources, [], checks={"engine": ask})
    async with served(app) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
            await eventually(partial(says, 'atelier_dependency_up{name="engine"} 1.0'))
            away.set()
            await eventually(partial(says, 'atelier_dependency_up{name="engine"} 0.0'))
