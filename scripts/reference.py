"""Writes the reference pages that are made from the program itself: settings, commands, operations.

`make docs` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main
from prometheus_client.metrics import MetricWrapperBase

from atelier import measures
from atelier.cli import app as cli
from atelier.http import metrics as http_metrics
from atelier.settings import PREFIX, Settings
from scripts import openapi

if TYPE_CHECKING:
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
    group = typer.main.get_command(cli)
    lines = ["# Commands", MADE, ""]
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined] # a group has commands
        lines += [f"## atelier {name}", "", (command.help or command.short_help or "").strip(), ""]
        options = [_option(parameter) for parameter in getattr(command, "params", []) if parameter.name != "help"]
        lines += ["| option | meaning |", "|---|---|", *options, ""] if options else []
    return "\n".join(lines)


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


LABELS = {
    "queue": "`process` and `store`; `files` is Celery's, of which the active relay sees only how many jobs wait",
    "outcome": "of `atelier_jobs`: `done`, `retried`, `put-off` (an engine was away), `dead`; of `atelier_images`: "
    "`ready`, `failed`; of `atelier_file_jobs`: `processed`, `failed`, `retried`, `put-off`, `skipped`, "
    "`lost` (its process died), `timed-out`",
    "reason": "the slug of the error; of a sandbox's end also `worn` (old, grown or dead), `not-started`, `crashed`",
    "kind": "of a look-up: `image`, `book`, `blob`; of what waits or is offered: `image`, `file`; of bytes: `picture`, "
    "`file`; of a Celery job: the kind of file, `-` or `unknown`",
    "result": "`hit`, `miss`, `busy` (somebody loads or changes it: the source was asked), `away` (no Redis)",
    "pool": "`transactions` (SQLAlchemy's) and `reads` (the driver's own)",
    "route": "the template of a path, `(unmatched)` for unknown ones, the prefix for Django's",
    "worker": "only where several processes share a port: which of them",
}


def metrics_page() -> str:
    """Every metric with its type and labels, and what the labels say."""
    held = [value for value in vars(measures).values() if isinstance(value, MetricWrapperBase)]
    registry = http_metrics.Metrics().registry
    own = [*registry._collector_to_names, *held]  # noqa: SLF001 - what was registered, in order; there is no other way
    rows = [_metric(metric, "relay" if metric in measures.RELAY._collector_to_names else "") for metric in own]  # noqa: SLF001
    return "\n".join(
        [
            "# Metrics",
            MADE,
            "",
            "The API shows them at `/metrics` on its own port, every other role on `metrics_port`",
            "([how to watch an instance](../howto/observe.md)). A role shows what it has measured; one with labels",
            "appears with its first value. Durations are in seconds and sizes in bytes.",
            "Metrics of relays that speak of all processes are the same from every relay: use `max`, not `sum`.",
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "| `atelier_build_info` | gauge | `version`, `python` | Version of Atelier and of Python. |",
            "| `atelier_log_errors_total` | counter | | Log lines of level ERROR or above. |",
            "| `process_*` | | | CPU, memory, descriptors and start of the process, as every client names them. |",
            "",
            "| label | values |",
            "|---|---|",
            *(f"| `{name}` | {values} |" for name, values in LABELS.items()),
            "",
        ]
    )


def _metric(metric: Any, role: str) -> str:  # noqa: ANN401 - a counter, gauge or histogram
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - it has no other way to ask
    return f"| `{name}` | {family.type} | {labels} | {family.documentation}{' (relay)' if role else ''} |"


PAGES = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "api.md": operations_page,
    "metrics.md": metrics_page,
}


def main() -> int:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
