"""Is it alive, is it ready, what has it done: `/healthz`, `/readyz`, `/metrics`. Knows dependencies by name only."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from atelier.http.json import Ready, json_response
from atelier.http.metrics import MEDIA_TYPE
from atelier.http.problems import problem, responses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from atelier.adapters.blobs import Blobs
    from atelier.http.resources import Resources

    Check = Callable[[], Awaitable[object]]

CHECK_SECONDS = 2.0  # a dependency that needs longer to say hello is not ready

log = logging.getLogger(__name__)
router = APIRouter(tags=["health"])

_OK: dict[str, Any] = {"type": "object", "properties": {"status": {"type": "string", "examples": ["ok"]}}}
_CHECKS: dict[str, Any] = {
    **_OK,
    "properties": {**_OK["properties"], "checks": {"type": "object", "additionalProperties": {"type": "string"}}},
}


def _json(schema: dict[str, Any], example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"schema": schema, "example": example}}}}


@router.get("/healthz", responses=_json(_OK, {"status": "ok"}))
async def alive() -> Response:
    """The process answers."""
    return json_response(b'{"status":"ok"}')


@router.get(
    "/readyz",
    responses={**_json(_CHECKS, {"status": "ready", "checks": {"database": "ok"}}), **responses(503)},
)
async def ready(request: Request) -> Response:
    """Every dependency answers; with 503 `checks` names those that do not."""
    checks = await run_checks(request.app.state.checks)
    if all(said == "ok" for said in checks.values()):
        return json_response({"status": "ready", "checks": checks})
    missing = ", ".join(name for name, said in checks.items() if said != "ok")
    return problem(
        503, "unavailable", "Not ready", f"Not ready: {missing}.", headers={"Retry-After": "2"}, checks=checks
    )


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request) -> Response:
    """Counts and durations, as Prometheus reads them."""
    text = await asyncio.to_thread(request.app.state.metrics.exposition)
    return Ready(text, 200, [(b"content-type", MEDIA_TYPE)])


def dependencies(resources: Resources) -> dict[str, Check]:
    """How each dependency of an API process is asked."""
    return {
        "database": lambda: resources.database.fetchrow("SELECT 1"),
        "redis": resources.redis.ping,
        "blobs": lambda: _reachable(resources.blobs),
    }


async def _reachable(blobs: Blobs) -> None:
    """Raises when nothing can be written where local blobs lie, or when a store elsewhere does not answer."""
    if path := blobs.path("readyz"):
        await asyncio.to_thread(_writable, path)
        return
    async for _ in blobs.list("readyz/"):
        break


def _writable(path: Path) -> None:
    nearest = next(folder for folder in path.parents if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError("the folder of blobs cannot be written")


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """What each says, asked all at once: `ok`, `slow` or `unreachable`. The reason goes to the log alone."""
    said = await asyncio.gather(*(_check(name, check) for name, check in checks.items()))
    return dict(zip(checks, said, strict=True))


async def _check(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        log.warning("%s did not answer within %s s", name, CHECK_SECONDS)
        return "slow"
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, it is not ready
        log.warning("%s is not ready: %s: %s", name, type(error).__name__, error)
        return "unreachable"
    return "ok"
