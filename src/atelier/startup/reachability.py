"""Checks that the servers behind URLs can be used.

An error is one sentence with the setting and the address, without a password.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from atelier.errors import Unavailable
from atelier.settings import EMBEDDED, Settings

CONNECT_SECONDS = 5
NO_URL = "this is no URL: in a password write / ? # @ : % as %2F %3F %23 %40 %3A %25"
_ADDRESSED = re.compile(
    r"^(.* failed: )?(FATAL: +)?(Error -?\d+ connecting to \S+\. |\[Errno -?\d+\] )?"
)
RABBITMQ_PORT, REDIS_PORT, POSTGRES_PORT = 5672, 6379, 5432


def require_servers(settings: Settings) -> None:
    """Connect to each server whose URL is set. Raises Unavailable for the first that fails."""
    asks: dict[str, Callable[[Settings, str], object]] = {
        "database_url": postgres_version,
        "migration_url": partial(postgres_version, setting="migration_url"),
        "redis_url": redis_facts,
        "amqp_url": greet_rabbitmq,
    }
    before = logging.root.manager.disable
    logging.disable()  # a client's log lines would be a second, rawer account of the error
    try:
        for name, ask in asks.items():
            if url := getattr(settings, name):
                ask(settings, url.get_secret_value())
    finally:
        logging.disable(before)


def postgres_version(settings: Settings, url: str, *, setting: str = "database_url") -> int:
    """Return the major version of the PostgreSQL at `url`. Raises Unavailable."""
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        return _postgres_version(settings, url)  # some roles' images lack psycopg

    with _said(settings, setting, "PostgreSQL") as say:
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise ValueError(NO_URL) from None
        say.address = _address(parts.get("host"), parts.get("port"), POSTGRES_PORT)
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            return connection.info.server_version // 10_000


def _postgres_version(settings: Settings, url: str) -> int:
    """Return the same by asyncpg."""
    import asyncpg

    async def ask() -> int:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        try:
            return int(connection.get_server_version().major)
        finally:
            await connection.close()

    with _said(settings, "database_url", "PostgreSQL") as say:
        parts = urlsplit(url)
        given = parse_qs(parts.query)
        host = given.get("host", [parts.hostname])[0]
        say.address = _address(host, given.get("port", [_port(parts)])[0], POSTGRES_PORT)
        return asyncio.run(ask())


def redis_facts(settings: Settings, url: str) -> dict[str, Any]:
    """Return the `INFO` of the Redis at `url`. Raises Unavailable."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with _said(settings, "redis_url", "Redis") as say:
        say.address = _address_of(url, REDIS_PORT)
        seconds = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS}
        with Redis.from_url(url, retry=Retry(NoBackoff(), 0), **seconds) as client:
            facts: dict[str, Any] = client.info()
            return facts


def greet_rabbitmq(settings: Settings, url: str) -> None:
    """Connect to the RabbitMQ at `url`. Raises Unavailable."""
    from aio_pika.exceptions import AMQPError

    from atelier.events.bus.rabbitmq import connect

    async def greet() -> None:
        try:
            connection = await connect(url, CONNECT_SECONDS)
        except AMQPError as error:
            if isinstance(error, OSError):
                raise
            raise OSError(
                "it closed the connection, perhaps there is no such virtual host"
            ) from None
        await connection.close()

    with _said(settings, "amqp_url", "RabbitMQ") as say:
        say.address = _address_of(url, RABBITMQ_PORT)
        asyncio.run(greet())


class _Sentence:
    address = "an unknown address"


@contextmanager
def _said(settings: Settings, setting: str, server: str) -> Iterator[_Sentence]:
    """Turn any error into an Unavailable with one sentence."""
    sentence = _Sentence()
    try:
        yield sentence
    except Exception as error:
        chosen = settings.sources()[setting] not in {"default", EMBEDDED}
        name = f"{settings.spelled(setting)}: " if chosen else ""
        if str(error) == NO_URL:
            raise Unavailable(f"{name}{NO_URL}.") from None
        raise Unavailable(
            f"{name}{server} at {sentence.address} cannot be used: {_reason(error)}."
        ) from None


def _address_of(url: str, default: int) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    return _address(parts.hostname, _port(parts), default)


def _port(parts: SplitResult) -> int | None:
    """Return the port of a URL. Raises ValueError when it is not a number."""
    try:
        return parts.port
    except ValueError:
        raise ValueError(NO_URL) from None


def _address(host: object, port: object, default: int) -> str:
    """Return `host:port`, or a socket's folder.

    Raises ValueError for an invalid port: it may be half a password.
    """
    host, port = str(host or "localhost"), str(port or default)
    if not re.fullmatch(r"[0-9,]+", port):
        raise ValueError(NO_URL)
    if host.startswith("/"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception) -> str:
    """Return the last line of a driver's error, without the address, which the sentence has."""
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_SECONDS} s"
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno)  # type: ignore[arg-type]
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return _ADDRESSED.sub("", text).rstrip(".") or type(error).__name__
