"""The HTTP API: assembles the slices' routers over one set of resources, on uvicorn."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp

from atelier import bootstrap
from atelier.accounts import revocations, sealing, sessions
from atelier.accounts.browser_routes import router as browsers
from atelier.accounts.families import Credentials
from atelier.accounts.invitation_routes import router as invitations
from atelier.accounts.key_routes import router as keys
from atelier.accounts.requests import lives
from atelier.accounts.routes import router as accounts
from atelier.accounts.session_routes import router as sign_in
from atelier.auth import Authenticator, Tokens, reserved
from atelier.books.routes import SHORTCUTS as BOOK_SHORTCUTS
from atelier.books.routes import router as books
from atelier.cache import Cache
from atelier.database import Database
from atelier.files import celery_app, django_setup
from atelier.files.statements import DISOWN, FORGET
from atelier.files.statements import RESTORE as RESTORE_FILES
from atelier.http import presence
from atelier.http.admission import Uploads
from atelier.http.app import create_app
from atelier.http.credentials import authenticate
from atelier.http.event_routes import router as events
from atelier.http.health import BROKER, dependencies
from atelier.http.middleware import Elsewhere
from atelier.http.protocol import Protocol
from atelier.http.ratelimit import Limits
from atelier.http.resources import Resources
from atelier.images import deleting as images_deleting
from atelier.images import service as images_service
from atelier.images.batch_routes import router as image_batches
from atelier.images.export_routes import router as image_exports
from atelier.images.library_routes import router as library
from atelier.images.move_routes import router as image_moves
from atelier.images.routes import SHORTCUTS as IMAGE_SHORTCUTS
from atelier.images.routes import UPLOADS as IMAGE_UPLOADS
from atelier.images.routes import router as images
from atelier.observe import logs, requester, systemd, tracing
from atelier.observe.exposition import count_errors
from atelier.observe.health import Check, bind
from atelier.retry import end
from atelier.roles import freeze
from atelier.roles.store import require_own
from atelier.settings import Settings
from atelier.spaces import teams
from atelier.spaces.routes import router as spaces
from atelier.startup.folders import require_blobs
from atelier.startup.openfiles import most_connections, raise_open_files
from atelier.tasks import deleting as tasks_deleting
from atelier.tasks import filling
from atelier.tasks import service as tasks_service
from atelier.tasks.export_routes import router as exports
from atelier.tasks.handout_routes import router as handouts
from atelier.tasks.move_routes import router as task_moves
from atelier.tasks.queue_routes import router as queues
from atelier.tasks.routes import UPLOADS as TASK_UPLOADS
from atelier.tasks.routes import router as tasks
from atelier.tasks.view_routes import router as task_views
from atelier.trash import service as trash_service
from atelier.trash.routes import router as trash
from atelier.wire.quota import Quota
from atelier.wire.trash import Kind

log = logging.getLogger("atelier")

# Routing is linear: the busiest first
ROUTERS = (
    *(
        images,
        library,
        image_moves,
        image_batches,
        handouts,
        exports,
        tasks,
        task_views,
        task_moves,
        queues,
    ),
    image_exports,
    *(books, accounts, sign_in, browsers, keys, invitations, spaces, trash, events),
)
SHORTCUTS = (*IMAGE_SHORTCUTS, *BOOK_SHORTCUTS)
UPLOADS = (*IMAGE_UPLOADS, *TASK_UPLOADS)
DRAIN_SECONDS = 10  # for requests under way when SIGTERM comes
BACKLOG = 2048  # connections that wait to be accepted


def main(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Raises WrongStore and SettingsError."""
    raise_open_files()
    require_blobs(settings)
    logs.setup("api", settings)
    count_errors()
    tracing.start("api", settings)
    asyncio.run(require_own(settings))
    listener = listen(settings)
    try:
        uvicorn.Server(serving(build(settings), settings)).run(sockets=[listener])
    finally:
        tracing.stop()
    return 0


def serving(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for the application."""
    quota = Quota(settings.client_connections, most_connections(), settings.trusted_proxies)
    return uvicorn.Config(
        app,
        http=partial(Protocol, quota=quota),  # type: ignore[arg-type] # it is called, no more
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        server_header=False,
        date_header=False,  # atelier.http sends it, to the second
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
        backlog=BACKLOG,
    )


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket; several API processes share one port if the settings say so."""
    listener = bind(
        settings.host, settings.port, share=settings.api_workers > 1, setting="ATELIER_PORT"
    )
    if not settings.port:
        log.info("port %d of %s is free and taken", listener.getsockname()[1], settings.host)
    return listener


def build(settings: Settings) -> FastAPI:
    """Build the whole application; its lifespan opens and closes all connections."""
    resources = open_resources(settings)
    django_setup.configure(settings)
    from django.core.wsgi import get_wsgi_application  # from here on these can be imported

    from atelier.files import openapi_document, urls
    from atelier.files.mount import Mount

    django = Mount(
        get_wsgi_application(),
        authenticate=lambda scope, right: authenticate(scope, resources.authenticator, right),
        uploads=resources.uploads,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(
            revocations.follow(resources.redis, resources.authenticator)
        )
        present = asyncio.create_task(presence.hold(resources.database))
        sealed = asyncio.create_task(
            sealing.seal_when_possible(
                resources.database,
                partial(sessions.keyed, resources.tokens),
                lives(settings).whole,
            )
        )
        freeze()
        log.info("api is up")
        systemd.ready()
        try:
            yield
        finally:
            await end(following, present, sealed)
            resources.passwords.close()
            resources.probers.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(django.close)
            await resources.cache.close()
            await resources.database.close()
            await resources.redis.aclose()
            log.info("api is down")

    return create_app(
        resources,
        ROUTERS,
        lifespan,
        elsewhere=Elsewhere(django, urls.PREFIXES),
        parts=(openapi_document.document,),
        checks=dependencies(resources) | broker(settings),
        shortcuts=SHORTCUTS,
        uploads=(*UPLOADS, *urls.UPLOADS),
    )


def open_resources(settings: Settings) -> Resources:
    """Open the resources of the routes."""
    redis = bootstrap.open_redis(settings)
    database = Database(bootstrap.database_url(settings))
    cache = Cache(redis, settings.cache_bytes)
    tokens = Tokens(bootstrap.secret(settings), access_seconds=settings.access_token_seconds)
    authenticator = Authenticator(
        tokens,
        Credentials(database, settings.refresh_token_days),
        reserved=reserved(settings.books_by),
    )

    async def membership_changed(user_id: int) -> None:
        await revocations.announce(redis, authenticator, user_id=user_id)

    return Resources(
        settings=settings,
        database=database,
        redis=redis,
        blobs=bootstrap.open_blobs(settings),
        cache=cache,
        tokens=tokens,
        authenticator=authenticator,
        limits=Limits(
            redis,
            failures_per_minute=settings.logins_per_minute,
            attempts_per_minute=settings.sign_ins_per_minute,
        ),
        process_lanes=bootstrap.process_lanes(settings, redis),
        uploads=Uploads(settings.upload_limit),
        # Tasks before the pictures that they are made of; the trash last, for what is deleted
        # meanwhile goes there.
        forget=(tasks_service.forget, images_service.forget, forget_files, trash_service.forget),
        disown=(images_service.disown, tasks_service.disown, disown_files),
        # Pictures before the tasks that are made of them.
        restorers={
            Kind.IMAGE: images_deleting.restore,
            Kind.TASK: tasks_deleting.restore,
            Kind.FILE: restore_files,
        },
        teams=teams,
        fill=filling.into,
        membership_changed=membership_changed,
    )


def broker(settings: Settings) -> dict[str, Check]:
    """The check of the broker of jobs for files; none where it is Redis, which is asked anyway."""
    if settings.amqp_url is None:
        return {}
    url = celery_app.broker_url(settings)
    return {BROKER: lambda: asyncio.to_thread(celery_app.ask, url)}


async def disown_files(session: AsyncSession, user_id: int) -> None:
    """Take a leaving user's name off the files that stay, within the caller's transaction."""
    await session.execute(text(DISOWN), {"user_id": user_id})


async def forget_files(session: AsyncSession, owner_id: int) -> None:
    """Delete every file of one space within the caller's transaction.

    The blobs become garbage with its commit.
    """
    await session.execute(text(FORGET), {"owner_id": owner_id, "actor": requester.actor()})


async def restore_files(session: AsyncSession, _: Cache, ids: Collection[int]) -> Sequence[str]:
    """Restore files from the trash within the caller's transaction; they are in no cache."""
    await session.execute(text(RESTORE_FILES), {"ids": list(ids), "actor": requester.actor()})
    return ()
