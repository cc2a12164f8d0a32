"""The containers of compose.yaml under the test's own name, ports and images."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.ports import free_port
from tests.system.instance import PASSWORD
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "inside"
BUILD_SECONDS, UP_SECONDS = 3600, 1800


class Stack:
    """One project of Compose.

    Files beside compose.yaml come from COMPOSE_FILE, as Compose has it.
    """

    def __init__(self) -> None:
        self.http, self.grpc = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": f"atelier-test-{secrets.token_hex(3)}",
            "ATELIER_TAG": "test",
            "ATELIER_HTTP": f"127.0.0.1:{self.http}",
            "ATELIER_HTTPS": f"127.0.0.1:{free_port()}",
            "ATELIER_GRPC": f"127.0.0.1:{self.grpc}",
        }
        self.clients: list[httpx2.Client] = []

    def compose(
        self,
        *words: str,
        seconds: float = PATIENCE_SECONDS,
        given: str | None = None,
        check: bool = True,
    ) -> str:
        """Run `docker compose WORDS`; what it printed."""
        return self._run(("docker", "compose", *words), seconds, given, check=check)

    def docker(self, *words: str) -> str:
        """Run `docker WORDS`; what it printed."""
        return self._run(("docker", *words), PATIENCE_SECONDS, None, check=True)

    def up(self, *words: str) -> None:
        """Start what is named, or everything, and wait until it is healthy."""
        self.compose("up", "--detach", "--wait", *words, seconds=UP_SECONDS)

    def down(self) -> None:
        """Stop everything and throw its volumes away."""
        for client in self.clients:
            client.close()
        self.compose("down", "--volumes", "--remove-orphans", seconds=UP_SECONDS)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, also of those that do not run."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Docker's record of a container."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", container))
        return found[0]

    def kill(self, service: str) -> None:
        """Kill every container of a service with -9."""
        for container in self.containers(service):
            self.docker("kill", container)

    def inside(self, service: str, script: str, *words: str) -> str:
        """Run a script of `inside/` in a service's container; what it printed."""
        text = (SCRIPTS / f"{script}.py").read_text()
        return self.compose("exec", "-T", service, "python", "-", *words, given=text)

    def alive(self) -> bool:
        """True if the API answers through the proxy, with everything that it needs."""
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}/readyz", timeout=PATIENCE_SECONDS).status_code == 200
        return False

    def user(self, email: str, *, register: bool = True) -> httpx2.Client:
        """A client that is signed in."""
        client = httpx2.Client(base_url=self.url, timeout=PATIENCE_SECONDS)
        self.clients.append(client)
        if register:
            assert (
                client.post("/api/users", json={"email": email, "password": PASSWORD}).status_code
                == 201
            )
        answer = client.post("/api/auth/token", data={"username": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    def logs(self) -> str:
        """The last lines of every container, to explain a failure."""
        return self.compose("logs", "--tail", "40", check=False)

    def _run(
        self, command: tuple[str, ...], seconds: float, given: str | None, *, check: bool
    ) -> str:
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT
            if command[:2] == ("docker", "logs")
            else subprocess.PIPE,  # roles log to it
            text=True,
            timeout=seconds,
            check=False,
        )
        took = time.monotonic() - began
        assert not check or done.returncode == 0, (
            f"{' '.join(command)} ({took:.0f} s)\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout
