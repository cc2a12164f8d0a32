"""`atelier probe`: asks over a plain socket whether the role on this machine is ready.

Containers run it every few seconds, so it imports next to nothing and reads only the environment.
It checks the names of settings there, and their values only when the port does not answer.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time

DEADLINE_SECONDS = 5.0  # for the whole answer; a role gives its dependencies two
ANSWER_BYTES = 64 * 1024
LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server that listens everywhere is found
SETTINGS = "../settings"
FIELD = re.compile(r"^    (\w+): .+ = Field\(", re.MULTILINE)  # of a class there
ENGINES = "engines.json"  # where `atelier up` writes down in its data folder which port it took
HINT = "name the instance's folder by --data, or its port by --port"


def from_environment() -> int | None:
    """Probe the port that the environment names; None when that takes the settings themselves."""
    # `os.path`, here and below: importing pathlib takes longer than the rest of the probe.
    config = "ATELIER_CONFIG" in os.environ or os.path.exists("atelier.yaml")  # noqa: PTH110
    if config or _has_unknown():
        return None
    value = os.environ.get
    port = value("ATELIER_METRICS_PORT") or value("ATELIER_PORT") or "8000"
    if not port.isdecimal():
        return None
    status, said = find(
        value("ATELIER_HOST") or "127.0.0.1", int(port), value("ATELIER_DATA") or "data"
    )
    return _tell(status, said) if status else None


def run(host: str, port: int, folder: str | None = None) -> int:
    """Probe; return 0 when the role is ready, else 1, and print its answer.

    With `folder` the instance that runs on that data folder is asked first.
    """
    return _tell(*(find(host, port, folder) if folder else ask(LOCAL.get(host, host), port)))


def find(host: str, port: int, folder: str) -> tuple[int, str]:
    """Return the answer of the instance on a data folder, else of the server on the port."""
    host = LOCAL.get(host, host)
    noted = _noted(folder)
    if noted and noted != port:
        status, said = ask(host, noted)
        if status:
            return status, said
    status, said = ask(host, port)
    return status, said if status else f"{said}; {HINT}"


def _noted(folder: str) -> int | None:
    """Return the port that an instance noted; one that was killed has left its note."""
    try:
        path = os.path.join(os.path.expanduser(folder), ENGINES)  # noqa: PTH111, PTH118
        with open(path, "rb") as file:  # noqa: PTH123
            return int(json.load(file)["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _has_unknown() -> bool:
    ours = [name for name in os.environ if name.upper().startswith("ATELIER_")]
    names = [name for name in ours if os.environ[name] and not name.startswith("ATELIER_TEST_")]
    return bool(names) and not _variables().issuperset(names)


def _variables() -> set[str]:
    """The settings' variables, read off the source of their classes: an import takes a second."""
    folder = os.path.join(os.path.dirname(__file__), SETTINGS)  # noqa: PTH118, PTH120 - as above
    found: set[str] = set()
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - as above
            if name.endswith(".py"):
                with open(os.path.join(folder, name), encoding="utf-8") as source:  # noqa: PTH118, PTH123 - as above
                    found.update(FIELD.findall(source.read()))
    except OSError:
        return set()  # then all are unknown here, and the settings are imported
    return {f"ATELIER_{name.upper()}" for name in found}


def _tell(status: int, said: str) -> int:
    sys.stdout.write(f"{said}\n")
    return int(status != 200)


def ask(host: str, port: int, path: str = "/readyz") -> tuple[int, str]:
    """Return status and body of an answer; status 0 and the reason when there is none."""
    end = time.monotonic() + DEADLINE_SECONDS
    try:
        with socket.create_connection((host, port), DEADLINE_SECONDS) as connection:
            connection.sendall(request(path))
            answer = b""
            while len(answer) < ANSWER_BYTES and (data := connection.recv(ANSWER_BYTES)):
                answer += data
                # Never zero, which would make the socket non-blocking.
                connection.settimeout(max(0.001, end - time.monotonic()))
    except OSError as error:
        return 0, f"no answer from {host}:{port}: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = status_of(head)
    return status, body.decode("utf-8", "replace").strip() or f"status {status} from {host}:{port}"


def request(path: str) -> bytes:
    """A request for `path` after whose answer the server closes the connection."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def status_of(head: bytes) -> int:
    """The status that an answer begins with; 0 when it is no answer."""
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
