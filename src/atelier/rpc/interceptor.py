"""The one interceptor of every gRPC server: checks tokens, makes statuses of errors, logs calls.

Closed by default: only the services named as open, health and reflection, need no token; calls of
these are not logged, as `/healthz` is not. Knows no servicer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message
from grpc.aio import ServicerContext
from grpc_status.rpc_status import to_status

from atelier.observe import requester
from atelier.observe.logs import RequestIds, request_id
from atelier.observe.metrics import CALL_SECONDS, CALLS, STREAMS
from atelier.rpc.errors import status_of

if TYPE_CHECKING:
    from atelier.auth import Authenticator, Principal

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = ServicerContext[Any, Any]
Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]

AUTHORIZATION, REQUEST_ID = "authorization", "x-request-id"  # metadata keys are lower case
AGAIN_SECONDS = 60.0  # between looks whether the token of an open stream is still good

access = logging.getLogger("atelier.access")
caller: ContextVar[Principal] = ContextVar("caller")  # on whose behalf a method runs


class Interceptor(grpc.aio.ServerInterceptor):
    """Checks tokens and translates errors.

    Methods are coroutines; streams are written with `context.write`.

    A method may answer with ready bytes instead of a message.
    """

    def __init__(self, authenticator: Authenticator, open_services: Collection[str] = ()) -> None:
        self._authenticator = authenticator
        self._open = tuple(f"/{service}/" for service in open_services)
        self._guarded: dict[str, Handler] = {}
        self._ids = RequestIds()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, guarded; made once for each method."""
        guarded = self._guarded.get(details.method)
        if guarded is not None:
            return guarded
        handler = await continuation(details)
        if handler is None:  # gRPC answers by itself, without an interceptor
            access.info("- - gRPC %.200s UNIMPLEMENTED 0.0 ms", details.method)
        if handler is None or details.method.startswith(self._open):
            return handler
        return self._guarded.setdefault(details.method, self._guard(handler, details.method))

    def _guard(self, handler: Handler, path: str) -> Handler:
        arity = f"{_ARITY[handler.request_streaming]}_{_ARITY[handler.response_streaming]}"
        behaviour = getattr(handler, arity)
        if inspect.isasyncgenfunction(behaviour):
            raise TypeError(f"{behaviour.__qualname__} yields; it should use context.write")
        wrap = self._streaming if handler.response_streaming else self._unary
        guarded = wrap(behaviour, path)
        make = getattr(grpc, f"{arity}_rpc_method_handler")
        return cast(
            "Handler",
            make(
                guarded,
                handler.request_deserializer,
                _or_ready(handler.response_serializer or bytes),
            ),
        )

    def _unary(self, behaviour: Behaviour, path: str) -> Behaviour:
        seconds = CALL_SECONDS.labels(_name(path))
        known = self._authenticator.known

        async def call(request: Any, context: Context) -> Any:
            began = time.perf_counter()
            try:
                value = self._begin(context)
                _identify(known(value) or await self._authenticator.authenticate(value))
                return await behaviour(request, context)
            except Exception as error:
                await _abort(context, error)
            finally:
                took = time.perf_counter() - began
                seconds.observe(took)
                _record(path, context, took)

        return call

    def _streaming(self, behaviour: Behaviour, path: str) -> Behaviour:
        streams = STREAMS.labels(_name(path))

        async def call(request: Any, context: Context) -> None:
            began = time.perf_counter()
            try:
                value = self._begin(context)
                _identify(await self._authenticator.authenticate(value))
                with streams.track_inprogress():
                    await self._while_welcome(
                        asyncio.ensure_future(behaviour(request, context)), value
                    )
            except Exception as error:
                await _abort(context, error)
            finally:
                _record(path, context, time.perf_counter() - began)

        return call

    def _begin(self, context: Context) -> str:
        """Give the call's log lines its id, the client's own or a new one; its `authorization`."""
        value, given = "", b""
        for key, sent in context.invocation_metadata() or ():
            if key == AUTHORIZATION:
                value = value or str(sent)
            elif key == REQUEST_ID:
                given = str(sent).encode()
        request_id.set(self._ids.pick(given).decode())
        requester.begin(_client(context.peer()))
        return value

    async def _while_welcome(self, streaming: asyncio.Future[Any], value: str) -> None:
        """Let a stream run until its end, or until its token has expired or was revoked."""
        try:
            while not (await asyncio.wait({streaming}, timeout=AGAIN_SECONDS))[0]:
                await self._authenticator.authenticate(value)
            streaming.result()
        finally:
            streaming.cancel()
            await asyncio.wait({streaming})


async def _abort(context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    status = to_status(status_of(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def _record(path: str, context: Context, seconds: float) -> None:
    """Count a call that has ended, and write its line of the access log, as HTTP has them."""
    # Of a call that is just being cancelled gRPC still says that it is well.
    cancelled = context.cancelled() or isinstance(sys.exception(), asyncio.CancelledError)
    code: Any = "CANCELLED" if cancelled else _NAMES.get(context.code() or 0, "UNKNOWN")
    CALLS.labels(_name(path), code).inc()
    if access.isEnabledFor(logging.INFO):
        client, user = requester.current().client, requester.user_of_line()
        access.info("%s %s gRPC %s %s %.1f ms", client, user, path, code, seconds * 1000)


def _identify(principal: Principal) -> None:
    """Say on whose behalf the rest of the call runs."""
    caller.set(principal)
    requester.identify(principal.user_id, principal.session_id)


def _name(path: str) -> str:
    """The method's own name: that of its service is always the same."""
    return path.rpartition("/")[2]


def _client(peer: str) -> str:
    """The address in gRPC's `ipv4:127.0.0.1:50000` or `ipv6:%5B::1%5D:50000`; else all of it."""
    family, _, address = peer.partition(":")
    if family not in {"ipv4", "ipv6"}:
        return peer
    return unquote(address).rpartition(":")[0].strip("[]")


def _or_ready(serialize: Callable[[Any], bytes]) -> Callable[[Message | bytes], bytes]:
    return lambda answer: answer if isinstance(answer, bytes) else serialize(answer)


_NAMES: dict[Any, str] = {code.value[0]: code.name for code in grpc.StatusCode}
_NAMES |= {code: code.name for code in grpc.StatusCode}
_ARITY = {False: "unary", True: "stream"}
