"""A running Atelier for whole-system tests: `atelier up` as a subprocess, clients, kills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import orjson
from redis import Redis

from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, until

PASSWORD = "correct horse battery"
# A busy machine may take long for a picture, and a test for all it does with one token.
SETTINGS = {"grpc_port": "0", "decode_seconds": "120", "access_token_seconds": "36000"}


def processes() -> dict[int, tuple[int, list[str]]]:
    """Every live process: pid -> (parent's pid, command line)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if stat[0] != "Z":
                    found[int(entry.name)] = (int(stat[1]), words)
    return found


def descendants(root: int) -> dict[int, list[str]]:
    """The live processes below `root`: pid -> command line."""
    everyone = processes()
    below: dict[int, list[str]] = {}
    grown = {root}
    while grown:
        grown = {
            pid for pid, (parent, _) in everyone.items() if parent in grown and pid not in below
        }
        below |= {pid: everyone[pid][1] for pid in grown}
    return below


class Instance:
    """One `atelier up` on a folder and a port of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "up.log"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ATELIER_")}
        self.environment |= {
            f"ATELIER_{key.upper()}": value for key, value in (SETTINGS | settings).items()
        }
        self.python = sys.executable
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[httpx2.Client] = []

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start and wait for nothing."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.python,
                    "-m",
                    "atelier",
                    "up",
                    "--data",
                    str(self.data),
                    "--port",
                    str(self.port),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=self.folder,
            )
        return self.process

    def start(self) -> None:
        """Start and wait until the API answers."""
        process = self.launch()
        until(lambda: self.alive() or process.poll() is not None, self.log.read_text)
        assert process.poll() is None, self.log.read_text()[-4000:]

    def alive(self) -> bool:
        """True if every dependency is ready."""
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}/readyz", timeout=PATIENCE_SECONDS).status_code == 200
        return False

    def stop(self) -> int:
        """Stop as an operator would; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """Stop, and close every client."""
        self.stop()
        for client in self.clients:
            client.close()

    def kill(self) -> None:
        """Kill the supervisor alone with -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def members(self) -> dict[int, list[str]]:
        """The live processes of this instance: pid -> command line."""
        assert self.process is not None
        return descendants(self.process.pid)

    def pids(self, name: str) -> list[int]:
        """Processes of a role (`api`, `files`), or the main one of an engine (`postgres`)."""
        assert self.process is not None
        children = {
            pid: words
            for pid, (parent, words) in processes().items()
            if parent == self.process.pid
        }
        return [
            pid
            for pid, words in children.items()
            if name in (words[-2], Path(words[0]).name.split("-")[0]) or f"atelier.{name}" in words
        ]

    def slay(self, pid: int) -> None:
        """Kill one process with -9; it may have ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def survivors(self, family: dict[int, list[str]]) -> dict[int, list[str]]:
        """Those of an earlier family that still live."""
        everyone = processes()
        return {
            pid: words
            for pid, words in family.items()
            if pid in everyone and everyone[pid][1] == words
        }

    def flush_redis(self) -> None:
        """Wipe the embedded Valkey."""
        url = orjson.loads((self.data / "engines.json").read_bytes())["redis_url"]
        with Redis.from_url(url) as redis:
            redis.flushall()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `atelier WORDS` against this instance."""
        return subprocess.run(
            [sys.executable, "-m", "atelier", *words, "--data", str(self.data)],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def user(self, email: str = "ada@example.org") -> httpx2.Client:
        """A client that is logged in as a (new) user."""
        client = httpx2.Client(base_url=self.url, timeout=PATIENCE_SECONDS)
        self.clients.append(client)
        client.post("/api/users", json={"email": email, "password": PASSWORD})
        self.login(client, email)
        return client

    def login(self, client: httpx2.Client, email: str) -> None:
        """Give the client a fresh access token."""
        answer = client.post("/api/auth/token", data={"username": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def settled(client: httpx2.Client, image_id: int) -> dict[str, Any]:
    """The record of an image once it is ready or failed."""

    def final() -> dict[str, Any] | None:
        record: dict[str, Any] = client.get(f"/api/images/{image_id}/info").json()
        return record if record["status"] != "queued" else None

    record = until(final)
    assert record is not None
    return record
