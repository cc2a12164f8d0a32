"""Saying that a process is ready, in the words of systemd."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from atelier.observe import systemd
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


def listening(address: str) -> socket.socket:
    """A supervisor's socket."""
    inlet = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inlet.bind(address)
    inlet.settimeout(PATIENCE_SECONDS)
    return inlet


def test_a_supervisor_hears_who_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One datagram with our pid."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "socket"))
    with closing(listening(str(tmp_path / "socket"))) as inlet:
        systemd.ready()
        message = inlet.recv(100)
    assert message.splitlines()[0] == b"READY=1"
    assert systemd.ready_pid(message) == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's abstract namespace")
def test_a_socket_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd spells it in containers."""
    monkeypatch.setenv("NOTIFY_SOCKET", f"@atelier-test-{os.getpid()}")
    with closing(listening(f"\0atelier-test-{os.getpid()}")) as inlet:
        systemd.ready()
        assert systemd.ready_pid(inlet.recv(100)) == os.getpid()


@pytest.mark.parametrize("address", [None, "", "/nowhere/socket", "x" * 200])
def test_a_missing_socket_is_no_error(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No supervisor, one that is gone, a variable that is rubbish: no matter."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.ready()


@pytest.mark.parametrize(
    "message",
    [b"", b"READY=1", b"MAINPID=1", b"READY=1\nMAINPID=x", b"READY=0\nMAINPID=1", b"\xff"],
)
def test_other_messages_say_nothing(message: bytes) -> None:
    """Only both together name a process that is ready."""
    assert systemd.ready_pid(message) is None
