"""The whole HTTP application around the slices' routers.

Opens no connection and names no slice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from atelier.http import docs, health, openapi, problems
from atelier.http.crowd import Refusals
from atelier.http.metrics import Metrics
from atelier.http.middleware import Edge, Elsewhere
from atelier.http.queries import guard
from atelier.http.shortcuts import Shortcut, Shortcuts
from atelier.http.strict import adopt
from atelier.observe.health import Check, Readiness, listening, watched
from atelier.wire.hosts import Hosts
from atelier.wire.spool import sweep

if TYPE_CHECKING:
    from atelier.http.resources import Resources

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Document = dict[str, Any]


class Api(FastAPI):
    """FastAPI with our own outermost layer in place of its four, and our own OpenAPI document."""

    elsewhere: Elsewhere | None = None
    body_limit: int
    hosts: Hosts
    parts: Sequence[Callable[[], Document]] = ()
    shortcuts: Shortcuts | None = None
    refusals: Refusals | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Straight to the stack: FastAPI's telemetry is not used, and costs time each request."""
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """`Edge`, added middleware, exception handlers, FastAPI's exit stack, the routes."""
        app: ASGIApp = AsyncExitStackMiddleware(self.router)
        app = ExceptionMiddleware(app, handlers=self.exception_handlers)
        for middleware, args, kwargs in reversed(self.user_middleware):
            app = middleware(app, *args, **kwargs)
        return Edge(
            app,
            body_limit=self.body_limit,
            metrics=self.state.metrics,
            hosts=self.hosts,
            elsewhere=self.elsewhere,
            shortcuts=self.shortcuts,
            refusals=self.refusals,
        )

    def openapi(self) -> Document:
        """The document of all parts, made once."""
        if self.openapi_schema is None:
            document = openapi.build(self.routes, self.state.resources.settings)
            for part in self.parts:
                document = openapi.merge(document, part())
            self.openapi_schema = document
        return self.openapi_schema


def create_app(
    resources: Resources,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    *,
    elsewhere: Elsewhere | None = None,
    parts: Sequence[Callable[[], Document]] = (),
    checks: Mapping[str, Check] | None = None,
    shortcuts: Sequence[Shortcut] = (),
    uploads: Collection[str] = (),
) -> FastAPI:
    """The application. Routing is linear: give the hottest routers first.

    `elsewhere` is another ASGI application with path prefixes of its own (Django), `parts` make
    the OpenAPI documents of such, `checks` are the dependencies that `/readyz` asks (default:
    database, Redis, blobs), `shortcuts` are the hottest reads, `uploads` the paths of
    uploads, without a slash at their end.
    """
    settings = resources.settings
    app = Api(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(lifespan),
    )
    app.body_limit = settings.body_limit
    app.hosts = Hosts(settings.allowed_hosts, settings.host)
    app.elsewhere = elsewhere
    app.parts = parts
    app.shortcuts = Shortcuts(shortcuts, resources) if shortcuts else None
    app.refusals = Refusals(resources.uploads, resources.authenticator, uploads)
    app.state.resources = resources
    app.state.metrics = Metrics(
        settings.data / "metrics" / str(settings.port)
        if settings.api_workers > 1 and settings.metrics_port is None
        else None
    )
    app.state.checks = checks if checks is not None else health.dependencies(resources)
    app.state.readiness = Readiness(app.state.checks)
    for router in routers:
        _take(app, router)
    # Monitors and browsers add parameters of their own.
    app.router.routes += health.routes(settings) + docs.router.routes
    _keep_literal(app)
    problems.install(app)
    return app


def _take(app: FastAPI, router: APIRouter) -> None:
    """Add a router's routes one by one: `include_router` would match each request twice."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            adopt(route)
            guard(route)
        app.router.routes.append(route)


def _keep_literal(app: FastAPI) -> None:
    """Keep a literal path to itself: `DELETE /api/users/me` is a 405, not a 422 of an id."""
    routes = [route for route in app.router.routes if isinstance(route, APIRoute)]
    literal = [route.path for route in routes if "{" not in route.path]
    for route in routes:
        taken = "|".join(
            re.escape(path)
            for path in literal
            if route.path_regex.match(path) and "{" in route.path
        )
        if taken:
            route.path_regex = re.compile(f"(?!(?:{taken})$){route.path_regex.pattern}")


def _measured(app: FastAPI) -> AbstractAsyncContextManager[None]:
    """The metrics, and health, on a port of their own, if the settings name one."""
    settings = app.state.resources.settings
    return listening(
        settings,
        app.state.checks,
        processes=settings.api_workers,
        registries=(app.state.metrics.registry,),
    )


def _lifespan(given: Lifespan | None) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(sweep, app.state.resources.settings.incoming_folder)
            await stack.enter_async_context(app.state.metrics.shared())
            await stack.enter_async_context(_measured(app))
            if given:
                await stack.enter_async_context(given(app))
            await stack.enter_async_context(watched(app.state.checks))
            yield

    return lifespan
