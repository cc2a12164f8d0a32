"""Books over gRPC and HTTP beside floors and typical servers, all in one run; prints Markdown.

CPU of the server process per call, median of interleaved rounds, 32 calls in flight, a catalogue
of a million books.

    python -m benchmarks.books [--books 1000000] [--rounds 5] [--calls 3000]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psycopg

from atelier.auth import Tokens
from atelier.commands.migrate import migrate
from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import BookServiceStub
from atelier.rpc.paging import page_token
from atelier.up.engines import start_postgres, start_valkey
from atelier.wire.paging import Keyset
from benchmarks.http_requests import CONNECTIONS, load
from benchmarks.usage import cpu_seconds

HERE = Path(__file__).parent
SECRET = "s" * 32
HOT = 10_000  # books that are read
PAGE = 50
FAR = 2000  # the far page's number
FILL = """
    INSERT INTO books (title, author, publication_date, title_folded, author_folded, sequence)
    SELECT
        'Title ' || n, 'Author ' || n %% 1000, date '1800-01-01' + n %% 80000,
        'title ' || n, 'author ' || n %% 1000, 1
    FROM generate_series(1, %s) AS n
"""
USER = (
    "INSERT INTO users (email, email_folded, password_hash, sequence, created_at) VALUES "
    "('a', 'a', '', 1, now())"
)
FAMILY = """
    INSERT INTO refresh_families (id, user_id, token_sha256, created_at, expires_at)
    SELECT %s, id, '', now(), now() + interval '1 day' FROM users
"""
BODY = b'{"title":"Title 1","author":"Author 1","publication_date":"1800-01-02"}'
JSON = {"Content-Type": "application/json"}


@dataclass
class Case:
    """One line of the table."""

    name: str
    server: str
    against: str = ""
    request: Callable[[], pb.GetBookRequest | pb.ListBooksRequest] | None = None
    path: str = ""
    body: bytes = b""
    weight: int = 1  # how many times dearer than the cheapest
    micros: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def one() -> pb.GetBookRequest:
    """Any of the hot books."""
    return pb.GetBookRequest(id=random.randint(1, HOT))


def cases(books: int) -> list[Case]:
    """Everything that is measured."""
    far = books + 1 - PAGE * (FAR - 1)
    cursor = Keyset(PAGE, None, "/api/books", ()).cursor(far)
    first = pb.ListBooksRequest(page_size=PAGE)
    offset = pb.ListBooksRequest(page_size=PAGE, page_token=str(PAGE * (FAR - 1)))
    beyond = pb.ListBooksRequest(page_size=PAGE, page_token=page_token(far, "ListBooks", "", ""))
    return [
        Case("GetBook, echo", "echo", request=one),
        Case("GetBook, grpc.aio + asyncpg", "asyncpg", request=one),
        Case("GetBook, grpc.aio + asyncpg + PyJWT", "asyncpg-token", request=one),
        Case("**GetBook**", "grpc", "GetBook, grpc.aio + asyncpg", request=one),
        Case("ListBooks, page 1, asyncpg", "asyncpg", request=lambda: first, weight=4),
        Case(
            "ListBooks, page 2,000, asyncpg by OFFSET",
            "asyncpg",
            request=lambda: offset,
            weight=60,
        ),
        Case(
            "**ListBooks**, page 1",
            "grpc",
            "ListBooks, page 1, asyncpg",
            request=lambda: first,
            weight=4,
        ),
        Case(
            "**ListBooks**, page 2,000",
            "grpc",
            "**ListBooks**, page 1",
            request=lambda: beyond,
            weight=4,
        ),
        Case("GET, bare ASGI", "bare", path="/"),
        Case("GET, FastAPI + ORM", "typical", path="/api/books/7", weight=6),
        Case("**GET**, cached", "api", "GET, FastAPI + ORM", path="/api/books/7"),
        Case("GET list, page 1, FastAPI + ORM", "typical", path="/api/books", weight=10),
        Case(
            "GET list, page 2,000, FastAPI + ORM",
            "typical",
            path=f"/api/books?offset={PAGE * (FAR - 1)}",
            weight=60,
        ),
        Case(
            "**GET list**, page 1",
            "api",
            "GET list, page 1, FastAPI + ORM",
            path="/api/books",
            weight=4,
        ),
        Case(
            "**GET list**, page 2,000",
            "api",
            "**GET list**, page 1",
            path=f"/api/books?cursor={cursor}",
            weight=4,
        ),
        Case("POST, FastAPI + ORM + outbox", "typical", path="/api/books", body=BODY, weight=8),
        Case(
            "**POST**",
            "api",
            "POST, FastAPI + ORM + outbox",
            path="/api/books",
            body=BODY,
            weight=3,
        ),
    ]


async def call(port: int, token: str, case: Case, calls: int) -> None:
    """So many calls, some of them at a time."""
    metadata = (("authorization", f"Bearer {token}"),)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub: Any = BookServiceStub(channel)
        method = stub.GetBook if case.request is one else stub.ListBooks
        left = iter(range(calls))

        async def work() -> None:
            for _ in left:
                await method(case.request() if case.request else None, metadata=metadata)

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


def measure(case: Case, servers: dict[str, tuple[int, int]], token: str, calls: int) -> None:
    """One round of one case."""
    port, pid = servers[case.server]
    count = max(CONNECTIONS, calls // case.weight)

    def run(count: int) -> None:
        if case.request:
            asyncio.run(call(port, token, case, count))
        else:
            headers = {"Authorization": f"Bearer {token}"} | (JSON if case.body else {})
            asyncio.run(load(port, case.path, headers, case.body, count))

    run(max(CONNECTIONS, count // 10))
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    run(count)
    case.wall.append((time.perf_counter() - wall) / count * 1e6)
    case.micros.append((cpu_seconds(pid) - cpu) / count * 1e6)


def start(
    stack: ExitStack, postgres: str, valkey: str, folder: Path
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every server: name -> port and process id."""
    ours = {
        "DATABASE_URL": postgres,
        "REDIS_URL": valkey,
        "SECRET": SECRET,
        "DATA": str(folder / "data"),
    }
    commands = {
        name: ["books_grpc_peers.py", name] for name in ("echo", "asyncpg", "asyncpg-token")
    }
    commands |= {name: ["books_http_peers.py", name] for name in ("bare", "typical")}
    for name in (*commands, "grpc", "api"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        if name in commands:
            script, kind = commands[name]
            words = [str(HERE / script), kind, str(port), postgres, SECRET]
        else:
            words = ["-m", "atelier", name]
        settings = ours | {"PORT": str(port), "GRPC_PORT": str(port)}
        environment = os.environ | {f"ATELIER_{key}": value for key, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield name, (port, process.pid)


def prepare(url: str, books: int) -> str:
    """The schema, the catalogue and a user; their token."""
    migrate(url)
    family = uuid.uuid4()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(USER)
        connection.execute(FAMILY, (family,))
        connection.execute(FILL, (books,))
        connection.execute("VACUUM ANALYZE books")
        (user,) = connection.execute("SELECT id FROM users").fetchone() or (0,)
    return Tokens(SECRET).issue(user, str(family))


def report(measured: list[Case]) -> None:
    """The table."""
    cost = {case.name: statistics.median(case.micros) for case in measured}
    print(f"| case | CPU us per call | wall us | against |\n{'|---' * 4}|")
    for case in measured:
        ratio = (
            f"{cost[case.against] / cost[case.name]:.2f}x faster than {case.against}"
            if case.against
            else ""
        )
        print(
            f"| {case.name} | {cost[case.name]:.0f} | {statistics.median(case.wall):.0f} | "
            f"{ratio} |"
        )


def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser()
    for name, default in (("books", 1_000_000), ("rounds", 5), ("calls", 3000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="atelier-bench-"))
        folder.chmod(0o711)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres, valkey = start_postgres(folder / "postgres"), start_valkey(folder / "valkey")
        stack.callback(postgres.halt)
        stack.callback(valkey.halt)
        token = prepare(postgres.url, chosen.books)
        servers = dict(start(stack, postgres.url, valkey.url, folder))
        time.sleep(5)
        measured = cases(chosen.books)
        for _ in range(chosen.rounds):
            for case in measured:
                measure(case, servers, token, chosen.calls)
        report(measured)


if __name__ == "__main__":
    main()
