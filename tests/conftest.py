"""The engines of a test run: one PostgreSQL, one Valkey, and a database for each worker."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import tempfile
import time
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
from redis.asyncio import Redis

from atelier.up.engines import Engine, start_postgres, start_valkey
from tests.ports import forbid_default_ports, hold_default_ports
from tests.postgres import trusting_postgres
from tests.s3 import S3Server
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

POSTGRES_VARIABLE = "ATELIER_TEST_POSTGRES_URL"
REDIS_VARIABLE = "ATELIER_TEST_REDIS_URL"
AMQP_VARIABLE = "ATELIER_TEST_AMQP_URL"
AMQP_DEFAULT = "amqp://guest:guest@127.0.0.1:5672/"
TEMPLATE = "atelier_template"
TEMPLATE_LOCK = (
    7241999  # an advisory lock: the first worker makes the template, the others wait for it
)


class Engines:
    """Start the engines in the process that owns the run and name them in the environment."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.running: list[Engine] = []

    def start(self) -> None:
        """Start what the environment does not name yet."""
        if not self.folder:
            self.folder = Path(tempfile.mkdtemp(prefix="atelier-tests-"))
            self.folder.chmod(0o711)  # when root runs the tests PostgreSQL is another user
        if POSTGRES_VARIABLE not in os.environ:
            self._add(start_postgres(self.folder / "postgres", durable=False), POSTGRES_VARIABLE)
        if REDIS_VARIABLE not in os.environ:
            self._add(start_valkey(self.folder / "valkey"), REDIS_VARIABLE)

    def _add(self, engine: Engine, variable: str) -> None:
        self.running.append(engine)
        os.environ[variable] = engine.url

    def stop(self) -> None:
        """End them without ceremony: nothing is kept."""
        for engine in self.running:
            engine.halt()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


# What Hypothesis would call too slow depends on the machine.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")

# How long the product waits for a server that may be slow, where a test is not about that.
TIME_LIMITS = (
    "atelier.accounts.revocations.REDIS_SECONDS",
    "atelier.cache.aside.TIMEOUT_SECONDS",
    "atelier.database.CONNECT_SECONDS",
    "atelier.http.windows.REDIS_SECONDS",
    "atelier.sandbox.child._EXIT",
    "atelier.observe.probe.DEADLINE_SECONDS",
    "atelier.commands.doctor.CONNECT_SECONDS",
    "atelier.events.follow.START_SECONDS",
    "atelier.tasks.handout.PATIENCE_SECONDS",
    "atelier.observe.health.CHECK_SECONDS",
)
ENGINES = pytest.StashKey[Engines]()
HELD = pytest.StashKey[list[socket.socket]]()


def pytest_configure(config: pytest.Config) -> None:
    """Forget the developer's own settings, and keep everything off the ports of an instance.

    With workers, start the engines before them so that they share.
    """
    for name in [
        name
        for name in os.environ
        if name.startswith("ATELIER_") and not name.startswith("ATELIER_TEST_")
    ]:
        del os.environ[name]
    # Not on a developer's machine: an instance may be started there while tests run.
    config.stash[HELD] = hold_default_ports() if os.environ.get("CI") else []
    forbid_default_ports()
    importlib.import_module("tests.guard.sitecustomize")
    config.stash[ENGINES] = Engines()
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        config.stash[ENGINES].start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this process started."""
    config.stash[ENGINES].stop()
    for holder in config.stash[HELD]:
        holder.close()


@pytest.fixture(scope="session", autouse=True)
def patient_product() -> Iterator[None]:
    """In this process the product's own time limits are as long as the tests'.

    On a busy machine an answer may take seconds; what the product does when none comes is for the
    tests that set a short limit.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in TIME_LIMITS:
            patch.setattr(name, PATIENCE_SECONDS)
        yield


def make_schema(url: str) -> None:
    """Bring an empty database to the newest schema."""
    from atelier.commands.migrate import migrate

    migrate(url)


def sibling(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    parts = urlsplit(url)
    return parts._replace(path=f"/{database}").geturl()


def create_database(server: str, name: str) -> str:
    """A new database with the schema; its URL."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
        if not connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)
        ).fetchone():
            draft = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
            connection.execute(f"CREATE DATABASE {draft}")
            make_schema(sibling(server, draft))
            connection.execute(f"ALTER DATABASE {draft} RENAME TO {TEMPLATE}")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    return sibling(server, name)


def drop_database(server: str, name: str) -> None:
    """Remove a database, even with clients connected."""
    with psycopg.connect(server, autocommit=True) as connection:
        while True:
            try:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            except psycopg.errors.InsufficientPrivilege:
                time.sleep(0.1)  # until autovacuum, which is the superuser's, has left it
            else:
                return


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """A PostgreSQL server for this run, its database `atelier` empty."""
    pytestconfig.stash[ENGINES].start()
    return os.environ[POSTGRES_VARIABLE]


@pytest.fixture(scope="session")
def database_url(postgres_url: str, worker_id: str) -> Iterator[str]:
    """A database with the newest schema, one for each test worker; its rows stay between tests."""
    name = f"worker_{worker_id}_{uuid.uuid4().hex[:8]}"
    yield create_database(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def admin_url() -> Iterator[str]:
    """A server's superuser, in a folder that any user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-provision-"))
    folder.chmod(0o755)
    with trusting_postgres(folder / "postgres") as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without a table."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield sibling(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def fresh_database_url(postgres_url: str) -> Iterator[str]:
    """A database with the newest schema and no rows, for this test alone."""
    name = f"fresh_{uuid.uuid4().hex}"
    yield create_database(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config, worker_id: str) -> str:
    """A Valkey for this run, one logical database for each test worker."""
    pytestconfig.stash[ENGINES].start()
    number = int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 0
    return f"{os.environ[REDIS_VARIABLE]}?db={number}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of this worker's Valkey database, empty at the start of the test."""
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
        yield client


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server of this worker's own."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """A RabbitMQ: named by the environment, or the usual local one.

    Skips without it, but fails under CI.
    """
    url = os.environ.get(AMQP_VARIABLE, AMQP_DEFAULT)
    parts = urlsplit(url)
    address = parts.hostname, parts.port or 5672
    with suppress(OSError), closing(socket.create_connection(address, timeout=PATIENCE_SECONDS)):
        return url
    reason = f"no RabbitMQ at {parts.hostname}:{parts.port or 5672}: set {AMQP_VARIABLE}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def fribidi() -> None:
    """The library with which Pillow lays lines out; skips without it, but fails under CI."""
    from PIL import features

    if features.check_feature("raqm"):
        return
    reason = "Pillow finds no libfribidi: install the package libfribidi0 (Homebrew: fribidi)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def without_fribidi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for LD_LIBRARY_PATH in which libfribidi cannot be loaded, which ends the search."""
    folder = tmp_path_factory.mktemp("without-fribidi")
    for name in ("libfribidi.so", "libfribidi.so.0"):
        (folder / name).write_bytes(b"no library")
    return folder
