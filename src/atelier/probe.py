"""`atelier probe`: whether the role on this machine is ready, asked with nothing but a socket.

Containers run it every few seconds, so it imports next to nothing and the environment is enough for it.
"""

from __future__ import annotations

import os
import socket
import sys
import time

DEADLINE_SECONDS = 5.0  # for the whole answer; a role gives its dependencies two
ANSWER_BYTES = 64 * 1024
LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server that listens everywhere is found


def from_environment() -> int | None:
    """Probe where the environment says; None when a file has a say as well."""
    if "ATELIER_CONFIG" in os.environ or os.path.exists("atelier.yaml"):  # noqa: PTH110 - pathlib takes longer than this
        return None
    value = os.environ.get
    port = value("ATELIER_METRICS_PORT") or value("ATELIER_PORT") or "8000"
    return run(value("ATELIER_HOST") or "127.0.0.1", int(port)) if port.isdecimal() else None


def run(host: str, port: int) -> int:
    """The exit code: 0 when it is ready, else 1; what it said goes to standard output."""
    status, said = ask(LOCAL.get(host, host), port)
    sys.stdout.write(f"{said}\n")
    return int(status != 200)  # noqa: PLR2004 - HTTP's OK


def ask(host: str, port: int, path: str = "/readyz") -> tuple[int, str]:
    """Status and body of an answer; status 0 and the reason when there is none."""
    end = time.monotonic() + DEADLINE_SECONDS
    try:
        with socket.create_connection((host, port), DEADLINE_SECONDS) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while len(answer) < ANSWER_BYTES and (data := connection.recv(ANSWER_BYTES)):
                answer += data
                connection.settimeout(max(0.001, end - time.monotonic()))  # zero would mean something else
    except OSError as error:
        return 0, f"no answer from {host}:{port}: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return status, body.decode("utf-8", "replace").strip() or f"status {status} from {host}:{port}"
