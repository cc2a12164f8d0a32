"""Is it alive, is it ready, what has it done: `/healthz`, `/readyz`, `/metrics`.

Knows dependencies by name only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from atelier.http.json import Ready, json_response
from atelier.http.metrics import MEDIA_TYPE
from atelier.http.problems import response, responses
from atelier.observe.health import Check
from atelier.wire.problems import problem

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from atelier.http.resources import Resources
    from atelier.settings import Settings

BROKER = "broker"  # of jobs for files
router = APIRouter(tags=["health"])

_OK: dict[str, Any] = {
    "type": "object",
    "properties": {"status": {"type": "string", "examples": ["ok"]}},
}
_CHECKS: dict[str, Any] = {
    **_OK,
    "properties": {
        **_OK["properties"],
        "checks": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def _json(schema: dict[str, Any], example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"schema": schema, "example": example}}}}


@router.get("/healthz", responses=_json(_OK, {"status": "ok"}))
async def alive() -> Response:
    """Check that the process is alive.

    It answers at all; no dependency is asked.
    """
    return json_response(b'{"status":"ok"}')


@router.get(
    "/readyz",
    responses={
        **_json(_CHECKS, {"status": "ready", "checks": {"database": "ok"}}),
        **responses(503),
    },
)
async def ready(request: Request) -> Response:
    """Check that the service is ready.

    Every dependency that is needed answers; with 503 `checks` names those that do not.

    `broker` (of jobs for files) is shown only: uploads are taken without it, and their jobs are
    sent when it is back.
    """
    checks = await request.app.state.readiness.ask()
    if all(said == "ok" for name, said in checks.items() if name != BROKER):
        return json_response({"status": "ready", "checks": checks})
    missing = ", ".join(name for name, said in checks.items() if said != "ok")
    detail = f"Not ready: {missing}."
    return response(
        problem(
            503, "unavailable", "Not ready", detail, headers={"Retry-After": "2"}, checks=checks
        )
    )


@router.get(
    "/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """Get the metrics.

    Counts and durations, in the text format of Prometheus.
    """
    text = await asyncio.to_thread(request.app.state.metrics.exposition)
    return Ready(text, 200, [(b"content-type", MEDIA_TYPE)])


def routes(settings: Settings) -> list[BaseRoute]:
    """The routes; without `/metrics` where that has a port of its own, which few can reach."""
    moved = settings.metrics_port is not None
    return [each for each in router.routes if not (moved and _is_metrics(each))]


def _is_metrics(route: BaseRoute) -> bool:
    return getattr(route, "endpoint", None) is metrics


def dependencies(resources: Resources) -> dict[str, Check]:
    """The checks of the dependencies of an API process."""
    return {
        "database": resources.database.ping,
        "redis": resources.redis.ping,
        "blobs": resources.blobs.probe,
    }
