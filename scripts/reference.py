"""Writes the reference pages that are made from the program itself: settings, commands, operations.

`make docs` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from atelier.classify.cli import reporter, runner, worker
from atelier.cli import app as cli
from atelier.settings import PREFIX, Settings
from scripts import openapi, operations

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `make docs`; do not edit. -->"


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
    """Every subcommand with its arguments and options."""
    lines = ["# Commands", MADE, ""]
    for name, command in _commands(typer.main.get_command(cli)):
        lines += [f"## atelier {name}", "", " ".join((command.help or command.short_help or "").split()), ""]
        options = [_option(parameter) for parameter in getattr(command, "params", []) if parameter.name != "help"]
        lines += ["| option | meaning |", "|---|---|", *options, ""] if options else []
    return "\n".join(lines)


def _commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a group of any kind
    """Each command by its full name, those of a group after it."""
    for name, command in sorted(group.commands.items()):
        if name == "classify":  # it reads its command line itself
            for word, own in {"": runner, " report": reporter, " worker": worker}.items():
                yield f"{name}{word}", typer.main.get_command(own)
            continue
        yield f"{above}{name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")


def _option(parameter: Any) -> str:  # noqa: ANN401 - of the click that typer brings
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{getattr(parameter, 'metavar', None) or (parameter.name or '').upper()}`"
    default = parameter.default
    plain = isinstance(default, str | int | float | Path) and not isinstance(default, bool)
    shown = f" Default: `{default}`." if plain else ""
    return f"| {names} | {getattr(parameter, 'help', '') or ''}{shown} |"


def operations_page() -> str:
    """Every operation of the HTTP API, from its OpenAPI document."""
    return operations.page(openapi.document(), MADE)


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "api.md": operations_page}


def main() -> int:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
