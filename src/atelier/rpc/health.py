"""The standard health service. A watcher that does not read delays nobody else's news."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc.aio import ServicerContext
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest as Request
from grpc_health.v1.health_pb2 import HealthCheckResponse as Response

Context = ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # it has no types
    """The state of each service by its name; `""` is the server."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {"": Response.SERVING}
        self._changed = asyncio.Event()
        self._stopping = False

    def set(self, name: str, state: int) -> None:
        """Set a service's state, unless the server is stopping."""
        if not self._stopping:
            self._tell(name, state)

    def stop(self) -> None:
        """Say NOT_SERVING of everything from now on."""
        self._stopping = True
        for name in [*self._states]:
            self._tell(name, Response.NOT_SERVING)

    async def Check(self, request: Request, context: Context) -> Response | None:  # noqa: N802 - gRPC's case
        """The state now; NOT_FOUND for an unknown service."""
        state: Any = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return Response(status=state)

    async def Watch(self, request: Request, context: Context) -> None:  # noqa: N802 - as above
        """The state now and after each change; those that change while it is sent are left out.

        grpc's own servicer holds a lock over each write: one client that never reads would keep
        the state from being set.
        """
        told = None
        while True:
            changed = self._changed
            state: Any = self._states.get(request.service, Response.SERVICE_UNKNOWN)
            if state != told:
                told = state
                await context.write(Response(status=state))
            await changed.wait()

    def _tell(self, name: str, state: int) -> None:
        if self._states.get(name) != state:
            self._states[name] = state
            self._changed.set()
            self._changed = asyncio.Event()
