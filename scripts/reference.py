"""Writes the reference pages that are made from the program itself: settings, commands, operations.

`make docs` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from atelier.cli import app as cli
from atelier.settings import PREFIX, Settings
from scripts import openapi

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `make docs`; do not edit. -->"
METHODS = ("get", "post", "put", "patch", "delete")


def settings_page() -> str:
    """Every setting with its variable, default and meaning."""
    rows = [
        f"| `{name}` | `{PREFIX}{name.upper()}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            MADE,
            "",
            "Environment variables win over the YAML file (`atelier.yaml` in the working folder, or the file that",
            "`ATELIER_CONFIG` names), which wins over the defaults. Unknown keys are errors.",
            "`atelier doctor` shows each value and where it came from.",
            "Sizes are in bytes and times in seconds unless a name says otherwise.",
            "",
            "| key in the file | environment | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "number of cores"
    if field.default is None:
        return "none"
    value = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{value}`"


def commands_page() -> str:
    """Every subcommand with its options."""
    lines = ["# Commands", MADE, ""]
    for name, command in _commands(typer.main.get_command(cli)):
        lines += [f"## atelier {name}", "", (command.help or command.short_help or "").strip(), ""]
        options = [_option(parameter) for parameter in getattr(command, "params", []) if parameter.name != "help"]
        lines += ["| option | meaning |", "|---|---|", *options, ""] if options else []
    return "\n".join(lines)


def _commands(group: Any, above: str = "") -> Iterator[tuple[str, click.Command]]:  # noqa: ANN401 - a group of any kind
    """Each command by its full name, those of a group after it."""
    for name, command in sorted(group.commands.items()):
        yield f"{above}{name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")


def _option(parameter: click.Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"| {names} | {getattr(parameter, 'help', '') or ''} |"


def operations_page() -> str:
    """Every operation of the HTTP API, from its OpenAPI document."""
    rows = []
    for path, operations in sorted(openapi.document()["paths"].items()):
        for method in METHODS:
            if operation := operations.get(method):
                secured = "token" if operation.get("security", True) else "-"
                mark = " (deprecated)" if operation.get("deprecated") else ""
                answers = ", ".join(sorted(operation["responses"]))
                summary = " ".join((operation.get("description") or operation.get("summary") or "").split())
                rows.append(f"| `{method.upper()} {path}` | {secured} | {answers} | {summary}{mark} |")
    return "\n".join(
        [
            "# HTTP API",
            MADE,
            "",
            "The whole document is at `/openapi.json`, with a page to try it at `/docs`. Errors are problem+json:",
            "[errors.md](errors.md).",
            "",
            "| operation | needs | answers | what it does |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "api.md": operations_page}


def main() -> int:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
