"""`atelier grpc`: BookService over the API's database.

Logs every `book.*` event to the console.
"""

from __future__ import annotations

import asyncio
import logging

from atelier import bootstrap
from atelier.accounts import revocations
from atelier.accounts.families import Credentials
from atelier.auth import Authenticator, Tokens, reserved
from atelier.books.servicer import RIGHTS, SERVICE, BookServicer, open_follower
from atelier.database import Database
from atelier.observe import health
from atelier.retry import end
from atelier.roles import log_events, run_role
from atelier.rpc.server import Server
from atelier.settings import Settings
from atelier.startup.openfiles import most_connections

log = logging.getLogger("atelier.grpc")

NAME = "grpc"
DRAIN_SECONDS = 10.0  # for calls under way when SIGTERM comes


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT."""
    return run_role(NAME, settings, run)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve and log until `stop`; calls under way are finished first."""
    redis = bootstrap.open_redis(settings)
    bus = bootstrap.open_bus(settings, redis)
    database = Database(bootstrap.database_url(settings))
    tokens = Tokens(bootstrap.secret(settings), access_seconds=settings.access_token_seconds)
    authenticator = Authenticator(
        tokens,
        Credentials(database, settings.refresh_token_days),
        reserved=reserved(settings.books_by),
    )
    follower = open_follower(database)
    servicer = BookServicer(database, follower)
    following = asyncio.create_task(revocations.follow(redis, authenticator))
    try:
        server = Server(
            authenticator,
            {SERVICE: servicer.add_to},
            rights=RIGHTS,
            share_port=settings.grpc_workers > 1,
            connections=most_connections(),
            streams_per_user=settings.watch_limit,
        )
        port = server.listen(settings.host, settings.grpc_port)
        checks: dict[str, health.Check] = {
            "database": database.ping,
            "redis": redis.ping,
            "bus": bus.ping,
        }
        async with (
            health.listening(settings, checks, processes=settings.grpc_workers),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(follower.run(stop))
            tasks.create_task(log_events(bus, NAME, bootstrap.SUBSCRIPTIONS[NAME], stop))
            log.info("listening on %s port %d", settings.host, port)
            await server.serve(stop, database.ping, DRAIN_SECONDS)
    finally:
        await end(following)
        await database.close()
        await bus.close()
        await redis.aclose()
