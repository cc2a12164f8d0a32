"""The API in this process with Django mounted in it and a real Celery worker, on real engines."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import httpx2
import psycopg
import pytest

from atelier import bootstrap
from atelier.auth import Principal, Role, Tokens
from atelier.commands import ownership
from atelier.files import SETTINGS_MODULE, django_setup
from atelier.files.inspectors import Inspection, Task
from atelier.files.inspectors.detect import HEAD_BYTES, detect
from atelier.files.inspectors.table import inspect
from atelier.roles import api
from atelier.sandbox.sandbox import Sandbox
from atelier.settings import Settings
from atelier.wire.multipart import Spooled
from tests.waiting import PATIENCE_SECONDS, eventually, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from atelier.files.models import File

os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
django.setup()  # test modules import models

USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES (%(email)s, %(email)s, '-', 1, now()) RETURNING id
"""
SESSION = """
    INSERT INTO refresh_families (id, user_id, token_sha256, created_at, expires_at)
    VALUES (%(id)s, %(user_id)s, '', now(), now() + interval '1 day')
"""
PHOTOS = Path(__file__).parents[1] / "photos"
people = itertools.count()


@pytest.fixture(scope="session")
def settings(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, redis_url: str
) -> Settings:
    """Settings of one instance for all tests of a worker.

    The database has rows of others' blobs, too.
    """
    made = Settings(
        data=tmp_path_factory.mktemp("files"),
        database_url=database_url,
        redis_url=redis_url,
        secret="s" * 32,
        body_limit=8 * 1024 * 1024,
        sign_ins_per_minute=100_000,
        decode_seconds=round(PATIENCE_SECONDS),
        reconcile_seconds=3600,
        file_workers=2,
    )
    ownership.adopt(made)
    return made


@pytest.fixture(scope="module")
async def app(settings: Settings) -> AsyncIterator[httpx2.ASGITransport]:
    """The application, started and stopped."""
    application = api.build(settings)
    async with application.router.lifespan_context(application):
        yield httpx2.ASGITransport(application)
    django_setup.disconnect()


def account(settings: Settings, email: str) -> tuple[int, str]:
    """A new account's id and a token."""
    session = uuid.uuid4()
    with psycopg.connect(bootstrap.database_url(settings)) as connection:
        (user_id,) = connection.execute(USER, {"email": email}).fetchone() or (0,)
        connection.execute(SESSION, {"id": session, "user_id": user_id})
    return user_id, Tokens(bootstrap.secret(settings)).issue(user_id, str(session))


def make(settings: Settings, content: bytes = b"hello") -> File:
    """A file as an upload makes it, its job not yet sent; Django is on these settings."""
    from django.db import transaction

    from atelier.files import service

    user_id, _ = account(settings, f"{uuid.uuid4().hex}@example.org")
    digest = hashlib.sha256(content).hexdigest()
    upload = Spooled("a.txt", "text/plain", digest, len(content), content)
    file = service.store(user_id, user_id, upload)
    with transaction.atomic():
        service.create(file)
    return file


def owner(file: File) -> Principal:
    """The one in whose own space a file is."""
    return Principal(file.owner_id, "session", roles={file.owner_id: Role.OWNER})


class Person:
    """A user with a client of their own."""

    def __init__(self, transport: httpx2.ASGITransport) -> None:
        self.email = f"files{next(people)}-{os.getpid()}@example.org"
        self.client = httpx2.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=PATIENCE_SECONDS
        )

    async def sign_in(self, settings: Settings) -> Person:
        """Make the account and a session as the API would, without the cost of a password."""
        self.id, self.token = account(settings, self.email)
        self.client.headers["Authorization"] = f"Bearer {self.token}"
        return self

    async def upload(
        self, content: bytes, name: str = "file.bin", *, expect: int = 201, **more: Any
    ) -> Any:
        """Upload a file; the answer's JSON."""
        answer = await self.client.post("/api/upload/", files={"file": (name, content)}, **more)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def settled(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record once it is final."""

        async def final() -> dict[str, Any] | None:
            found: dict[str, Any] = (await self.client.get(record["url"])).json()
            return found if found["status"] != "queued" else None

        return await eventually(final)


@pytest.fixture
async def ada(app: httpx2.ASGITransport, settings: Settings) -> AsyncIterator[Person]:
    """A signed-in user."""
    person = await Person(app).sign_in(settings)
    yield person
    await person.client.aclose()


@pytest.fixture
async def bob(app: httpx2.ASGITransport, settings: Settings) -> AsyncIterator[Person]:
    """Another signed-in user."""
    person = await Person(app).sign_in(settings)
    yield person
    await person.client.aclose()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process of its own reads them."""
    chosen = settings.model_dump(exclude_unset=True)
    shown = {
        name: getattr(value, "get_secret_value", lambda value=value: value)()
        for name, value in chosen.items()
    }
    return dict(os.environ) | {
        f"ATELIER_{name.upper()}": str(value) for name, value in shown.items()
    }


@contextmanager
def celery(settings: Settings, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`celery -A atelier.files worker` as a process, once it takes jobs."""
    command = [sys.executable, "-m", "celery", "-A", "atelier.files", "worker", *options]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment(settings),
            cwd=settings.data,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until(lambda: b" ready." in log.read_bytes() or process.poll() is not None, log.read_text)
    assert process.poll() is None, log.read_text()
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def worker(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[bytes]]:
    """One worker for a module's tests."""
    with celery(settings, tmp_path_factory.mktemp("worker") / "log") as process:
        yield process


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox[Inspection]]:
    """The decoder as a worker has it."""
    with Sandbox(
        "atelier.files.inspectors.table:inspect",
        Inspection,
        children=1,
        seconds=PATIENCE_SECONDS,
        memory=512 * 1024 * 1024,
        warm_up="atelier.files.inspectors.warm:warm_up",
    ) as made:
        yield made


def look(sandbox: Sandbox[Inspection] | None, content: bytes) -> Inspection:
    """The decoder's findings in a file; without a decoder, those of its code in this process."""
    found = detect(content[:HEAD_BYTES], whole=len(content) <= HEAD_BYTES)
    task = Task(found.kind, found.content_type, 50_000_000)
    return inspect(task, content) if sandbox is None else sandbox.call_sync(task, content)
