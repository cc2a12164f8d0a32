"""The command line itself: what it says of its version, and what it refuses."""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from atelier.cli import app
from atelier.errors import Unavailable
from atelier.observe.health import PortTaken

if TYPE_CHECKING:
    from pathlib import Path


def test_the_version() -> None:
    """`atelier --version` says which release this is."""
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"atelier {version('atelier')}\n")


def test_resending_and_purging_contradict() -> None:
    """Both at once is an error of use: which came first would decide whether jobs are lost."""
    done = CliRunner().invoke(app, ["jobs", "--resend", "--purge"])
    assert done.exit_code == 2
    assert "contradict" in done.output


def test_two_ports_that_are_taken_are_named_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second instance is refused with both options at once; nothing was started."""
    monkeypatch.chdir(tmp_path)
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        port, grpc_port = first.getsockname()[1], second.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            CliRunner().invoke(
                app,
                ["up", "--port", str(port), "--grpc-port", str(grpc_port)],
                catch_exceptions=False,
            )
    assert caught.value.detail == (
        f"Ports {port} and {grpc_port} of 127.0.0.1 are taken by other programs: "
        "choose another --port and another --grpc-port."
    )
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_one_port_that_is_taken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """By its own option."""
    monkeypatch.chdir(tmp_path)
    ports = {"--port": "0", "--grpc-port": "0"}
    with socket.create_server(("127.0.0.1", 0)) as held:
        ports[option] = str(held.getsockname()[1])
        words = ["up", *(word for pair in ports.items() for word in pair)]
        with pytest.raises(
            PortTaken,
            match=f"Port {ports[option]} of 127.0.0.1 is taken .* choose another {option}.",
        ):
            CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.mark.parametrize(
    "command", [["check"], ["jobs"], ["backup", "../elsewhere"], ["blobs", "verify"]]
)
def test_a_command_beside_an_instance_that_is_down_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """First that it does not run, on which folder, then what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        Unavailable,
        match=rf"^Atelier is not running on {tmp_path}/data, .* start `atelier up` there",
    ):
        CliRunner().invoke(app, command, catch_exceptions=False)
