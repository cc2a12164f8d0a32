"""A gRPC server without its servicers: limits, health, reflection, a shared port, drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from atelier.errors import AtelierError
from atelier.observe import systemd
from atelier.observe.health import bind, pulse
from atelier.rpc.health import Health
from atelier.rpc.interceptor import Interceptor

if TYPE_CHECKING:
    from atelier.auth import Authenticator, Right

KIB = 1024
RECEIVE_BYTES = 256 * KIB  # of one message from a client: ours are small
SEND_BYTES = 4 * 1024 * KIB  # what clients take unless told otherwise
METADATA_BYTES = 16 * KIB
CONCURRENT_CALLS = (
    4_000  # at once in one process, open streams included; RESOURCE_EXHAUSTED beyond
)
# One client of many calls waits for a free stream, it is not refused.
STREAMS = 256  # at once on one connection
HANDSHAKE_SECONDS = 20  # from the connection to the client's SETTINGS frame
IDLE_SECONDS = 120  # without a call; clients connect anew when they need to
# Streams of health and reflection have no other end. Watches end with
# UNAVAILABLE, as when the server is restarted, and go on at their last position.
AGE_SECONDS = 3600  # of a connection; gRPC varies it by a tenth
AGE_GRACE_SECONDS = 60  # for its calls under way
CHECK_SECONDS = 2.0  # between looks whether what we depend on is there
OPTIONS: dict[str, int] = {
    "grpc.max_receive_message_length": RECEIVE_BYTES,
    "grpc.max_send_message_length": SEND_BYTES,
    "grpc.max_metadata_size": METADATA_BYTES,
    "grpc.absolute_max_metadata_size": METADATA_BYTES,
    # Streams that are quiet for long: find out when the client's machine has gone, and let clients
    # do the same.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.min_recv_ping_interval_without_data_ms": 20_000,
    "grpc.max_concurrent_streams": STREAMS,
    "grpc.server_handshake_timeout_ms": HANDSHAKE_SECONDS * 1000,
    "grpc.max_connection_idle_ms": IDLE_SECONDS * 1000,
    "grpc.max_connection_age_ms": AGE_SECONDS * 1000,
    "grpc.max_connection_age_grace_ms": AGE_GRACE_SECONDS * 1000,
}

HEALTH = "grpc.health.v1.Health"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """A server of named services, each added by a function that takes the grpc server."""

    def __init__(
        self,
        authenticator: Authenticator,
        services: Mapping[str, Callable[[grpc.aio.Server], None]],
        *,
        rights: Mapping[str, Right],
        share_port: bool,
        connections: int,
        streams_per_user: int,
    ) -> None:
        """Serve methods to those who have their right; `connections` at once, no one more.

        `rights` are by a method's whole path; one without a right there is refused to everybody.
        """
        interceptor = Interceptor(
            authenticator,
            (HEALTH, reflection.SERVICE_NAME),
            rights,
            streams_per_user=streams_per_user,
        )
        options = OPTIONS | {
            "grpc.so_reuseport": int(share_port),
            "grpc.max_allowed_incoming_connections": connections,
        }
        self._server = grpc.aio.server(
            interceptors=(interceptor,),
            options=list(options.items()),
            maximum_concurrent_rpcs=CONCURRENT_CALLS,
        )
        self._health = Health()
        self._names = ("", *services)
        self._shares = share_port
        for add in services.values():
            add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*services, HEALTH, reflection.SERVICE_NAME), self._server
        )

    def listen(self, host: str, port: int) -> int:
        """Bind; the port. Raises PortTaken and AtelierError."""
        bind(
            host, port, share=self._shares, setting="ATELIER_GRPC_PORT"
        ).close()  # gRPC keeps the reason to itself
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise AtelierError(f"cannot listen on {address}") from error

    async def serve(
        self, stop: asyncio.Event, check: Callable[[], Awaitable[object]], grace_seconds: float
    ) -> None:
        """Answer until `stop`; then take no more calls, and give those under way `grace_seconds`.

        Health says SERVING while `check` does not raise.
        """
        await self._server.start()
        systemd.ready()
        checking = asyncio.ensure_future(self._tell_health(check))
        try:
            await stop.wait()
        finally:
            checking.cancel()
            self._health.stop()
            await self._server.stop(grace_seconds)

    async def _tell_health(self, check: Callable[[], Awaitable[object]]) -> None:
        while True:
            pulse.beat("grpc")
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await check()
            except Exception:
                status = NOT_SERVING
            else:
                status = SERVING
            for name in self._names:
                self._health.set(name, status)
            await asyncio.sleep(CHECK_SECONDS)
