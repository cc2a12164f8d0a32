"""The command line itself: what it says of its version, and what it refuses."""

from __future__ import annotations

from importlib.metadata import version

from typer.testing import CliRunner

from atelier.cli import app


def test_the_version() -> None:
    """`atelier --version` says which release this is."""
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"atelier {version('atelier')}\n")


def test_resending_and_purging_contradict() -> None:
    """Both at once is an error of use: which came first would decide whether jobs are lost."""
    done = CliRunner().invoke(app, ["jobs", "--resend", "--purge"])
    assert done.exit_code == 2
    assert "contradict" in done.output
