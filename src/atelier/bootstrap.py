"""Makes adapters from settings: the only module that names a concrete bus or blob store.

Knows no database and no role.
"""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from atelier.blobs import Blobs
from atelier.blobs.directory import DirectoryBlobs
from atelier.errors import Unavailable
from atelier.events.bus import Bus
from atelier.queue import Lanes, Queue
from atelier.settings import Bucket, Settings
from atelier.up.engines import running

PROCESS, BULK, STORE = "process", "bulk", "store"
# Rendered pictures are large: the processor waits for the archiver rather than fill the memory.
STORE_LIMIT = 256
DEAD_LIMIT = 100  # dead letters kept of each queue: they contain pictures
# The subscriptions of each service: the relay declares them all before it sends, so that a service
# receives the events from before its start.
SUBSCRIPTIONS = {"processor": ("image.*",), "grpc": ("book.*",)}
REDIS_TIMEOUT = 5.0  # seconds for a command; blocking reads bring their own
REDIS_CONNECTIONS = 128


def open_redis(settings: Settings) -> Redis:
    """Open the Redis of queue and cache.

    Retries are decided where the command is sent, not here.
    """
    return Redis.from_url(
        redis_url(settings),
        max_connections=REDIS_CONNECTIONS,
        socket_connect_timeout=REDIS_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )


def open_bus(settings: Settings, redis: Redis) -> Bus:
    """Open RabbitMQ when its URL is set, else Redis Streams."""
    if settings.amqp_url is not None:
        from atelier.events.bus.rabbitmq import RabbitBus

        return RabbitBus(settings.amqp_url.get_secret_value())
    from atelier.events.bus.streams import StreamsBus

    return StreamsBus(redis)


def open_blobs(settings: Settings) -> Blobs:
    """Open the store of the settings."""
    return open_store(settings, settings.store)


def open_store(settings: Settings, place: Path | Bucket) -> Blobs:
    """Open the store in a folder, or in a bucket with the credentials of the settings."""
    if isinstance(place, Path):
        return DirectoryBlobs(place)
    from atelier.blobs.s3 import Access, S3Blobs

    key, secret = settings.s3_access_key, settings.s3_secret_key
    access = Access(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=key.get_secret_value() if key else None,
        secret_key=secret.get_secret_value() if secret else None,
    )
    return S3Blobs(place.name, place.prefix, access)


def process_lanes(settings: Settings, redis: Redis) -> Lanes:
    """Open the queues of the image processor."""
    first, bulk = (
        Queue(
            redis,
            name,
            limit=settings.queue_limit,
            attempts=settings.job_attempts,
            dead_limit=DEAD_LIMIT,
        )
        for name in (PROCESS, BULK)
    )
    return Lanes(first, bulk)


def store_queue(settings: Settings, redis: Redis) -> Queue:
    """Open the queue of the archiver."""
    return Queue(
        redis, STORE, limit=STORE_LIMIT, attempts=settings.job_attempts, dead_limit=DEAD_LIMIT
    )


def database_url(settings: Settings) -> str:
    """Return the database's URL."""
    return _url(settings, "database_url", "database")


def migration_url(settings: Settings) -> str:
    """Return the database's URL for the role that owns the tables."""
    if settings.migration_url is None and settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return _url(settings, "migration_url", "database")


def redis_url(settings: Settings) -> str:
    """Return Redis's URL."""
    return _url(settings, "redis_url", "Redis")


def _url(settings: Settings, name: str, what: str) -> str:
    """Return the URL that is set, else that of the embedded engine on the same data folder."""
    chosen = getattr(settings, name)
    url = chosen.get_secret_value() if chosen is not None else running.noted(settings.data, name)
    if url is None:
        raise Unavailable(
            f"Atelier is not running on {settings.data.absolute()}, so there is no {what}: start "
            "`atelier up` there, "
            f"name another folder by --data, or set ATELIER_{name.upper()}"
        )
    return url


def secret(settings: Settings) -> str:
    """Return the secret that signs tokens."""
    if settings.secret is None:
        raise Unavailable(
            "no secret: set ATELIER_SECRET (32 bytes or more) or start with `atelier up`"
        )
    return settings.secret.get_secret_value()
