"""The one interceptor of every gRPC server: checks tokens, makes statuses of errors, logs calls.

Closed by default: only the services named as open, health and reflection, need no token; calls of
these are not logged, as `/healthz` is not. Every other method has a right, which an API key must
have. Knows no servicer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message
from grpc.aio import ServicerContext
from grpc_status.rpc_status import to_status

from atelier.auth import Right, has
from atelier.errors import Malformed
from atelier.observe import requester
from atelier.observe.logs import RequestIds, request_id
from atelier.observe.metrics import CALL_SECONDS, CALLS, STREAMS
from atelier.rpc.budgets import (
    OPEN_CALLS,
    OPEN_CALLS_OF_CLIENT,
    OPEN_STREAMS,
    OPEN_STREAMS_OF_CLIENT,
    USER_CALLS,
    budget,
)
from atelier.rpc.errors import status_of
from atelier.wire.networks import client_network, plain_address
from atelier.wire.places import Places

if TYPE_CHECKING:
    from atelier.auth import Authenticator, Principal

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = ServicerContext[Any, Any]
Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]

AUTHORIZATION, REQUEST_ID = "authorization", "x-request-id"  # metadata keys are lower case
AGAIN_SECONDS = 60.0  # between looks whether the token of an open stream is still good
MESSAGE_SECONDS = 10.0  # for a call's one message to come: the call has a place until then

access = logging.getLogger("atelier.access")
caller: ContextVar[Principal] = ContextVar("caller")  # on whose behalf a method runs


class Interceptor(grpc.aio.ServerInterceptor):
    """Checks tokens and translates errors.

    Methods are coroutines; streams are written with `context.write`.

    A method may answer with ready bytes instead of a message.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        open_services: Collection[str] = (),
        rights: Mapping[str, Right] | None = None,
        *,
        streams_per_user: int = 16,
    ) -> None:
        self._authenticator = authenticator
        self._rights = rights or {}
        self._user_calls = budget("user_calls", "calls", each=USER_CALLS)
        self._user_streams = budget("user_streams", "streams", each=streams_per_user)
        self._open_calls = budget(
            "open_calls", "such calls", each=OPEN_CALLS_OF_CLIENT, total=OPEN_CALLS
        )
        self._open_streams = budget(
            "open_streams",
            "streams of health and reflection",
            each=OPEN_STREAMS_OF_CLIENT,
            total=OPEN_STREAMS,
        )
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
            return None
        return self._guarded.setdefault(details.method, self._guard(handler, details.method))

    def _guard(self, handler: Handler, path: str) -> Handler:
        arity = f"{_ARITY[handler.request_streaming]}_{_ARITY[handler.response_streaming]}"
        behaviour = getattr(handler, arity)
        is_open = path.startswith(self._open)
        if inspect.isasyncgenfunction(behaviour):
            if not is_open:
                raise TypeError(f"{behaviour.__qualname__} yields; it should use context.write")
            behaviour = _written(behaviour)
        if not handler.request_streaming:
            behaviour = _with_one_message(behaviour)
        if is_open:
            places = self._open_streams if handler.response_streaming else self._open_calls
            guarded = _unauthenticated(behaviour, places)
        else:
            wrap = self._streaming if handler.response_streaming else self._unary
            guarded = wrap(behaviour, path)
        # For a handler of one message gRPC waits for that message before it calls anything: such
        # a call would hold a place without a token and without an end.
        make = getattr(grpc, f"stream_{_ARITY[handler.response_streaming]}_rpc_method_handler")
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
        known, right = self._authenticator.known, self._rights[path]

        async def call(request: Any, context: Context) -> Any:
            began = time.perf_counter()
            try:
                value = self._begin(context)
                user = known(value) or await self._authenticator.authenticate(value)
                _identify(user)
                has(user, right)
                with self._user_calls.place(user.user_id):
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
        right = self._rights[path]

        async def call(request: Any, context: Context) -> None:
            began = time.perf_counter()
            try:
                value = self._begin(context)
                user = await self._authenticator.authenticate(value)
                _identify(user)
                has(user, right)
                with self._user_streams.place(user.user_id), streams.track_inprogress():
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


def _unauthenticated(behaviour: Behaviour, places: Places) -> Behaviour:
    """A method of a service that is open to everybody, as often as there are places for it."""

    async def call(requests: Any, context: Context) -> Any:
        try:
            with places.place(_network(context.peer())):
                return await behaviour(requests, context)
        except Exception as error:
            await _abort(context, error)

    return call


def _with_one_message(behaviour: Behaviour) -> Behaviour:
    """A method of one message, called once it is there."""

    async def call(_: Any, context: Context) -> Any:
        try:
            async with asyncio.timeout(MESSAGE_SECONDS):
                message = await context.read()
        except TimeoutError:
            raise Malformed(f"No message came within {MESSAGE_SECONDS:g} seconds.") from None
        except DecodeError:
            raise Malformed("The message is not one of this method.") from None
        if message is grpc.aio.EOF:
            raise Malformed("The call has no message.")
        return await behaviour(message, context)

    return call


def _written(generate: Callable[[Any, Context], AsyncIterator[Any]]) -> Behaviour:
    """A method that yields, as one that writes."""

    async def call(request: Any, context: Context) -> None:
        async for answer in generate(request, context):
            await context.write(answer)

    return call


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
    return plain_address(unquote(address).rpartition(":")[0].strip("[]"))


def _network(peer: str) -> str:
    """The client network of an address; whatever is none of IP is one client."""
    address = _client(peer)
    return peer if address == peer else client_network(address)


def _or_ready(serialize: Callable[[Any], bytes]) -> Callable[[Message | bytes], bytes]:
    return lambda answer: answer if isinstance(answer, bytes) else serialize(answer)


_NAMES: dict[Any, str] = {code.value[0]: code.name for code in grpc.StatusCode}
_NAMES |= {code: code.name for code in grpc.StatusCode}
_ARITY = {False: "unary", True: "stream"}
