"""CPU per request in the server process, ours beside floors and typical peers in one run.

Prints a Markdown table.

    python -m benchmarks.http_requests [ROUNDS [WORD]]

With WORD only the cases that have it in their name, and what they are compared with: `team` is a
member's requests in a team's space beside the same in one's own. 32
connections without pause; every case is measured in each round, the rounds are interleaved,
medians are shown. To measure another path add a line to CASES.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psycopg

from atelier.up.engines import start_postgres, start_valkey
from benchmarks.usage import cpu_seconds, peak_kib

HERE = Path(__file__).parent
PICTURE = HERE.parent / "tests/photos/waterfall_640x480.jpg"
CONNECTIONS = 32
REQUESTS = 3000
WARM_UP = 500
ROWS = 100_000


KIB = 1024
BOUNDARY = "-" * 24 + "d74496d66958873e"  # as long as curl's
PART = (
    b'--%b\r\nContent-Disposition: form-data; name="file"; '
    b'filename="a.jpg"\r\n\r\n%b\r\n--%b--\r\n'
)
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
RECORD, LIST, UPLOAD, IN_TEAM = "one record", "list of 50", "upload of 81 KB", ", in a team"
PHOTO = PICTURE.read_bytes()
SMALL, LARGE = os.urandom(100 * KIB), os.urandom(8 * KIB * KIB)


def form(content: bytes) -> bytes:
    """A multipart body with one file."""
    return PART % (BOUNDARY.encode(), content, BOUNDARY.encode())


TEAM = "INSERT INTO spaces (name, created_at) VALUES ('team', now()) RETURNING id"
MEMBER = """
    INSERT INTO members (space_id, user_id, role, created_at)
    SELECT %s, max(id), 'editor', now() FROM users
"""


@dataclass
class Case:
    """One line of the table: a server, a path, and what it is compared with.

    `cost` is how much work it is.
    """

    name: str
    server: str
    path: str
    against: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cost: float = 1.0
    status: int = 200
    body: bytes = b""
    micros: list[float] = field(default_factory=list)
    millis: list[float] = field(default_factory=list)


CASES = [
    Case("bare ASGI", "bare", "/record"),
    Case("Starlette, bytes", "starlette", "/record"),
    Case("FastAPI, bytes", "fastapi", "/record"),
    Case("typical: one row by the ORM", "typical", "/images/{id}", cost=4),
    Case("typical: one row from Redis", "typical", "/cached/{id}", cost=4),
    Case("typical: list of 50", "typical", "/images", cost=10),
    Case("typical: FileResponse of 81 KB", "typical", "/file", cost=4),
    Case("alive, no token", "atelier", "/healthz", "bare ASGI"),
    Case(RECORD, "atelier", "/api/images/{id}/info", "typical: one row from Redis"),
    Case(
        "one record, 304",
        "atelier",
        "/api/images/{id}/info",
        "bare ASGI",
        {"If-None-Match": '"1"'},
        status=304,
    ),
    Case(LIST, "atelier", "/api/images", "typical: list of 50", cost=10),
    Case(
        "picture of 81 KB",
        "atelier",
        "/api/images/{id}/renditions/original",
        "typical: FileResponse of 81 KB",
        cost=2,
    ),
    Case(RECORD + IN_TEAM, "atelier", "/api/images/{team_id}/info", RECORD),
    Case(LIST + IN_TEAM, "atelier", "/api/images?space={team}", LIST, cost=10),
    Case(UPLOAD, "atelier", "/api/images", "", FORM, 40, 201, form(PHOTO)),
    Case(
        UPLOAD + IN_TEAM, "atelier", "/api/images?space={team}", UPLOAD, FORM, 40, 201, form(PHOTO)
    ),
    Case("unknown path", "atelier", "/nothing", "bare ASGI", status=404),
    Case("raw body of 100 KiB to disk", "raw", "/raw", body=SMALL, cost=3),
    Case("multipart of 100 KiB to disk", "multipart", "/multipart", "", FORM, 3, body=form(SMALL)),
    Case("raw body of 8 MiB to disk", "raw", "/raw", body=LARGE, cost=50),
    Case("multipart of 8 MiB to disk", "multipart", "/multipart", "", FORM, 50, body=form(LARGE)),
]


class Connection(asyncio.Protocol):
    """Sends the same request again as soon as it has been answered."""

    def __init__(
        self, request: bytes, left: list[int], times: list[float], done: asyncio.Event
    ) -> None:
        self.request, self.left, self.times, self.done = request, left, times, done
        self.missing = -1
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.ask()

    def ask(self) -> None:
        """Send the next request, or stop when there have been enough."""
        if self.left[0] <= 0:
            self.transport.close()
            return
        self.left[0] -= 1
        self.since = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count an answer's bytes."""
        if self.missing < 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self.head[:end].lower(), self.head[end + 4 :]
            at = head.find(b"content-length:")
            self.missing = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self.head = b""
        self.missing -= len(data)
        if self.missing <= 0:
            self.missing = -1
            self.times.append(time.perf_counter() - self.since)
            self.ask()

    def connection_lost(self, _: Exception | None) -> None:
        """The last one says that it is over."""
        self.left[1] -= 1
        if not self.left[1]:
            self.done.set()


async def load(
    port: int, path: str, headers: dict[str, str], body: bytes, requests: int
) -> list[float]:
    """Seconds of each of `requests` answers."""
    if body:
        headers = {**headers, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    method = "POST" if body else "GET"
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: [::1]\r\nAccept: */*\r\n{lines}\r\n".encode() + body
    )
    left, times, done = [requests, CONNECTIONS], [], asyncio.Event()
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(
            lambda: Connection(request, left, times, done), "127.0.0.1", port
        )
    await done.wait()
    return times


class Servers:
    """The server processes, each started when it is first asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.running: dict[str, tuple[int, int]] = {}

    def get(self, name: str) -> tuple[int, int]:
        """Port and process id."""
        if name not in self.running:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            command = [
                sys.executable,
                str(HERE / "http_peers.py"),
                name,
                str(port),
                str(self.folder / "data"),
            ]
            process = subprocess.Popen(
                command, stderr=subprocess.DEVNULL if name == "atelier" else None
            )
            self.stack.callback(process.wait)
            self.stack.callback(process.terminate)
            self.running[name] = port, process.pid
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert process.poll() is None, f"{name} did not start"
                    time.sleep(0.05)
        return self.running[name]


def prepare(port: int, database: str) -> tuple[str, dict[str, int]]:
    """A signed-in user with a picture and many rows beside it, at home and in a team's space.

    Returns the token, and the ids for paths.
    """
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        form = {"username": "bench@example.org", "password": "a quiet workshop"}
        client.post(
            "/api/users", json={"email": form["username"], "password": form["password"]}
        ).raise_for_status()
        with psycopg.connect(database) as connection:
            team = join_team(connection)  # before the token is used and its spaces remembered
        token = client.post("/api/auth/token", data=form).raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        files = {"file": ("waterfall.jpg", PHOTO, "image/jpeg")}
        image, shared = [
            client.post("/api/images", files=files, headers=headers)
            .raise_for_status()
            .json()["id"]
            for _ in range(2)
        ]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE images SET owner_id = %s WHERE id = %s", (team, shared))
        columns = [
            row[0]
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'images' "
                "AND column_name != 'id'"
            )
        ]
        values = ["blob || '-' || n" if name == "blob" else name for name in columns]
        connection.execute(
            f"INSERT INTO images ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM images, generate_series(1, {ROWS}) n WHERE id IN ({image}, {shared})"
        )
        connection.execute("ANALYZE images")
    return token, {"id": image, "team_id": shared, "team": team}


def join_team(connection: psycopg.Connection) -> int:
    """Make the only user the editor of a new team; returns the id of its space."""
    made = connection.execute(TEAM).fetchone()
    assert made
    connection.execute(MEMBER, made)
    return int(made[0])


def measure(case: Case, servers: Servers, token: str, ids: dict[str, int]) -> None:
    """One round of one case."""
    port, pid = servers.get(case.server)
    path = case.path.format(**ids)
    headers = {"Authorization": f"Bearer {token}"} | case.headers
    requests = int(REQUESTS / case.cost)
    method = "POST" if case.body else "GET"
    url = f"http://127.0.0.1:{port}{path}"
    status = httpx2.request(method, url, headers=headers, content=case.body or None).status_code
    assert status == case.status, f"{case.name}: {status}"
    asyncio.run(load(port, path, headers, case.body, WARM_UP // int(case.cost)))
    before = cpu_seconds(pid)
    times = asyncio.run(load(port, path, headers, case.body, requests))
    case.micros.append((cpu_seconds(pid) - before) / requests * 1e6)
    times.sort()
    case.millis += [times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3]


def chosen(word: str) -> list[Case]:
    """The cases with this word in their name, with the floor and peers to compare them with."""
    names = {"bare ASGI"}
    for case in CASES:
        if word in case.name:
            names |= {case.name, case.against}
    return [case for case in CASES if case.name in names]


def report(cases: list[Case]) -> None:
    """The table."""
    cost = {case.name: statistics.median(case.micros) for case in cases}
    print(
        f"| case | CPU us per request | of bare ASGI | against | p50 ms | p99 ms |\n{'|---' * 6}|"
    )
    for case in cases:
        ratio = cost[case.against] / cost[case.name] if case.against else 0
        against = f"{ratio:.2f}x the speed of {case.against}" if case.against else ""
        p50, p99 = statistics.median(case.millis[::2]), statistics.median(case.millis[1::2])
        share = cost[case.name] / cost["bare ASGI"]
        print(
            f"| {case.name} | {cost[case.name]:.0f} | {share:.2f} | {against} | {p50:.1f} | "
            f"{p99:.1f} |"
        )


def main(rounds: int, word: str) -> None:
    """Start engines and servers, measure, print."""
    cases = chosen(word)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="atelier-bench-"))
        folder.chmod(0o711)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres, valkey = start_postgres(folder / "postgres"), start_valkey(folder / "valkey")
        stack.callback(postgres.halt)
        stack.callback(valkey.halt)
        os.environ |= {
            "BENCH_DATABASE": postgres.url,
            "BENCH_REDIS": valkey.url,
            "BENCH_PICTURE": str(PICTURE),
        }
        migrate(postgres.url)
        servers = Servers(folder, stack)
        token, ids = prepare(servers.get("atelier")[0], postgres.url)
        for _ in range(rounds):
            for case in cases:
                measure(case, servers, token, ids)
        report(cases)
        for name, (_, pid) in servers.running.items():
            print(f"peak memory of {name}: {peak_kib(pid) // KIB} MiB")


def migrate(url: str) -> None:
    """The newest schema."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE.parent / "src/atelier/migrations"))
    config.attributes["url"] = url
    command.upgrade(config, "head")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2] if len(sys.argv) > 2 else "")
