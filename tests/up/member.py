"""A small real role: `python member.py NAME WHAT`.

Uses the database and the queue that it is told of.
"""

# ruff: noqa: T201 - its lines are what the supervisor merges

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from atelier.observe import systemd
from atelier.up.engines import access


def serve() -> None:
    """Answer `/healthz` and `/readyz`, the latter by asking both engines."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                if self.path == "/readyz":
                    ask()
                self.send_response(200)
            except (psycopg.Error, OSError):
                self.send_response(503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["ATELIER_PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    systemd.ready()
    server.serve_forever()


def ask() -> None:
    """Both engines answer."""
    with psycopg.connect(os.environ["ATELIER_DATABASE_URL"], connect_timeout=60) as connection:
        connection.execute("INSERT INTO visits DEFAULT VALUES")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(unquote(urlsplit(os.environ["ATELIER_REDIS_URL"]).path))
        client.sendall(b"INCR visits\r\n")
        if not client.recv(100).startswith(b":"):
            raise OSError("no number")


def prepare() -> None:
    """Stand in for migrations."""
    with psycopg.connect(os.environ["ATELIER_MIGRATION_URL"]) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS visits (id bigint GENERATED ALWAYS AS IDENTITY)"
        )
        for statement in access.grants(access.CLIENT, "public"):
            connection.execute(statement.encode())


def work() -> None:
    """Have a child of its own; say so when asked to stop."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    signal.signal(signal.SIGTERM, lambda *_: (child.kill(), print("worker drained"), sys.exit(0)))
    print(f"worker works with {len(os.environ['ATELIER_SECRET'])} characters of secret")
    systemd.ready()
    while True:
        time.sleep(60)


def refuse() -> None:
    """Never stop when asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stubborn is up")
    systemd.ready()
    while True:
        time.sleep(60)


def misuse() -> None:
    """Find the settings wrong."""
    print("atelier: the colour of the bicycle shed is missing")
    sys.exit(2)


def dawdle() -> None:
    """Be ready once the pipe `release` in the data folder is written to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    release = Path(os.environ["ATELIER_DATA"], "release")
    os.mkfifo(release)
    print("dawdler waits")
    release.read_bytes()
    systemd.ready()
    print("dawdler is up")
    time.sleep(600)


def die() -> None:
    """Die soon after the start, each time."""
    systemd.ready()
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def talk() -> None:
    """Print a very long line, bytes that are not UTF-8, and a last line without an end."""
    sys.stdout.buffer.write(b"x" * 300_000 + b"\n" + b"caf\xe9\nlast words")
    sys.stdout.flush()
    systemd.ready()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(600)


def fail() -> None:
    """Stand in for a broken migration."""
    sys.exit("column already exists")


def lose() -> None:
    """Lose the database in the middle of a migration, as to the kernel's killer."""
    folder = Path(os.environ["ATELIER_DATA"], "postgres")
    postmaster = int((folder / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    sys.exit("atelier: the database is gone")


def lose_once() -> None:
    """Lose it the first time."""
    seen = Path(os.environ["ATELIER_DATA"], "lost")
    if not seen.exists():
        seen.touch()
        lose()
    prepare()


if __name__ == "__main__":
    globals()[sys.argv[2]]()
