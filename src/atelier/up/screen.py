"""The console of `atelier up`: log lines labelled with their role, and the start screen."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import BinaryIO

from atelier.settings import Settings
from atelier.settings.places import own_address

# ANSI foregrounds that read on dark and on light.
COLOURS = 36, 33, 32, 35, 34, 96, 93, 92, 95, 94
LABEL_WIDTH = 10
FIRST_USER = (
    "curl -H 'Content-Type: application/json' "
    """-d '{"email": "you@example.org", "password": "a long one"}' """
)


class Console:
    """Standard output, line by line.

    A closed pipe (`atelier up | head`) stops the output and nothing else.
    """

    def __init__(self, settings: Settings, output: BinaryIO | None = None) -> None:
        self.output = output or sys.stdout.buffer
        self.plain = settings.log_format == "json"  # lines for machines stay as they are
        self.colour = self.output.isatty() and "NO_COLOR" not in os.environ
        self._labels: dict[str, bytes] = {}

    def line(self, name: str, line: bytes) -> None:
        """Print one line of a role."""
        self.write(line + b"\n" if self.plain else self._label(name) + line + b"\n")

    def write(self, data: bytes) -> None:
        """Print the text as it is."""
        with suppress(OSError, ValueError):
            self.output.write(data)
            self.output.flush()

    def _label(self, name: str) -> bytes:
        if name not in self._labels:
            text = f"{name:<{LABEL_WIDTH}} | "
            colour = COLOURS[len(self._labels) % len(COLOURS)]
            self._labels[name] = (f"\x1b[{colour}m{text}\x1b[0m" if self.colour else text).encode()
        return self._labels[name]


class Labelled(io.TextIOBase):
    """A text stream for this process's own log lines, labelled like those of a role."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name

    def write(self, text: str) -> int:
        """Print the text, which is whole lines: logging writes nothing else."""
        for line in text.splitlines():
            self._console.line(self._name, line.encode("utf-8", "backslashreplace"))
        return len(text)


def address(settings: Settings) -> str:
    """The address at which a browser on this machine finds the API."""
    return own_address(settings.host, settings.port)


def show_start(
    console: Console,
    settings: Settings,
    names: set[str],
    notes: list[str],
    metrics_ports: Mapping[str, int],
) -> None:
    """Print the start screen: every address, what to do first, how to stop."""
    if console.plain:
        return
    from rich.console import Console as Terminal
    from rich.table import Table

    url = address(settings)
    rows = [("API", f"{url}/api"), ("Docs", f"{url}/docs")]
    if "grpc" in names:
        rows.append(("gRPC", f"{settings.host}:{settings.grpc_port}"))
    if metrics_ports:
        rows.append(
            (
                "Metrics",
                "  ".join(f"{name}:{port}" for name, port in metrics_ports.items()),
            )
        )
    rows += [("Data", str(settings.data)), ("Logs", str(settings.logs_folder))]
    rows += [("First user", f"{FIRST_USER}{url}/api/users"), ("Stop", "Ctrl-C (twice: at once)")]
    text = io.StringIO()
    # Never break a line that gets copied.
    terminal = Terminal(file=text, force_terminal=console.colour, width=10_000)
    grid = Table.grid(padding=(0, 2))
    for name, value in rows + [("Note", note) for note in notes]:
        grid.add_row(f"  [bold]{name}[/bold]", terminal.render_str(value, markup=False))
    terminal.print(f"\n[bold green]Atelier {version('atelier')} is running[/bold green]")
    terminal.print(grid)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    console.write(("\n".join(lines) + "\n\n").encode("utf-8", "backslashreplace"))
