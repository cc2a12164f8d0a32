"""No test takes a port that an instance takes by default, so tests run beside an instance."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from atelier.settings import load
from tests import ports
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ["127.0.0.1", "0.0.0.0"]
BIND = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))"


def shared_socket() -> socket.socket:
    """A socket with every option that lets a port be bound a second time."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return made


def test_the_default_ports_are_those_of_the_settings(tmp_path: Path) -> None:
    """Both that `atelier up` listens on when it is told nothing."""
    settings = load(data=tmp_path)
    assert {settings.port, settings.grpc_port} == ports.DEFAULT_PORTS


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("port", sorted(ports.DEFAULT_PORTS))
def test_no_test_can_bind_a_default_port(host: str, port: int) -> None:
    """On no address and with no option, whether or not an instance runs beside the tests."""
    refusal = f"port {port} is for instances"
    with closing(shared_socket()) as refused, pytest.raises(PermissionError, match=refusal):
        refused.bind((host, port))


@pytest.mark.parametrize("port", sorted(ports.DEFAULT_PORTS))
def test_no_process_of_a_test_can_bind_a_default_port(port: int) -> None:
    """A test's subprocess is refused as the test is."""
    done = subprocess.run(
        [sys.executable, "-c", BIND, str(port)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert f"PermissionError: port {port} is for instances" in done.stderr


def test_an_instance_without_ports_does_not_start(tmp_path: Path) -> None:
    """A test that forgets to name them fails at once, whatever else runs on the machine."""
    done = subprocess.run(
        [sys.executable, "-m", "atelier", "up", "--data", str(tmp_path / "data")],
        capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert "is for instances" in done.stdout + done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.mark.parametrize("host", HOSTS)
def test_a_held_port_cannot_be_bound(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Until it is given back; so programs in any language are kept off the default ports."""
    port = ports.free_port()
    monkeypatch.setattr(ports, "DEFAULT_PORTS", {port})
    (holder,) = ports.hold_default_ports()
    in_use = pytest.raises(OSError, match="in use")
    with closing(holder), closing(shared_socket()) as refused, in_use:
        refused.bind((host, port))
    with closing(shared_socket()) as free:
        free.bind((host, port))


def test_ports_in_a_row_are_free_together() -> None:
    """Each can be bound while the others are."""
    row = ports.free_ports(5)
    assert row == list(range(row[0], row[0] + 5))
    for port in row:
        with closing(socket.create_server(("127.0.0.1", port))):
            pass
