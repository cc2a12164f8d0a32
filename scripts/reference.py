"""Writes the reference pages that are made from the program itself.

`make docs` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from prometheus_client.metrics import MetricWrapperBase

from atelier.classify.cli import reporter, runner, worker
from atelier.cli import app as cli
from atelier.http import metrics as http_metrics
from atelier.observe import metrics
from atelier.problem_types import GROUPS, REASONS
from atelier.settings import PREFIX, Settings
from atelier.wire.problem_pages import status_line
from scripts import openapi, operations

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
            (
                "Environment variables win over the YAML file (`atelier.yaml` in the working "
                "folder, or the file that"
            ),
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
        lines += [
            f"## atelier {name}",
            "",
            " ".join((command.help or command.short_help or "").split()),
            "",
        ]
        options = [
            _option(parameter)
            for parameter in getattr(command, "params", [])
            if parameter.name != "help"
        ]
        lines += ["| option | meaning |", "|---|---|", *options, ""] if options else []
    return "\n".join(lines)


def _commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Each command by its full name, those of a group after it."""
    for name, command in sorted(group.commands.items()):
        if name == "classify":  # it reads its command line itself
            for word, own in {"": runner, " report": reporter, " worker": worker}.items():
                yield f"{name}{word}", typer.main.get_command(own)
            continue
        yield f"{above}{name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")


def _option(parameter: Any) -> str:
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


COLUMNS = 99  # of the text of a page
ERRORS_HEAD = f"""# Errors
{MADE}

Every error of the HTTP API is an `application/problem+json` document
([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):

```json
{{
  "type": "/problems/invalid",
  "title": "The request is not acceptable as it stands",
  "status": 422,
  "detail": "Some values are not acceptable.",
  "errors": [{{"loc": ["body", "title"], "msg": "This field is required"}}]
}}
```

`type` is what a program should look at: it is stable, and the word after `/problems/` is one of
those below. It is also an address of the instance, where what stands below is served as HTML, JSON
or plain text, as `Accept` asks; no token is needed. `title` says the same in English; `detail` is
about this request. `errors` comes with 422 and names each value that is wrong: `loc` is the way to
it (`body`, `query`, `path` or `header`, then names and positions). What was sent is not repeated.

Every answer carries `X-Request-ID`; the same id is on every line that the request left in the log.
Send one of your own (1 to 64 of `A-Z a-z 0-9 . _ : = + / -`) and it is used.
"""
ERRORS_REASONS = """A picture or file that was accepted and then could not be processed is not an
error of a request. Its record has the status `failed`, and in `error` a `reason` from here or one
of `not-an-image`, `bad-picture`, `too-many-pixels` above, and a sentence as `detail`.
"""
LABELS = {
    "queue": "`process`, `bulk` and `store`; `files` is Celery's, of which the active relay sees "
    "only how many jobs wait",
    "outcome": "of `atelier_jobs`: `done`, `retried`, `put-off` (an engine was away), `dead`; of "
    "`atelier_images`: "
    "`ready`, `failed`; of `atelier_file_jobs`: `processed`, `failed`, `retried`, `put-off`, "
    "`skipped`, "
    "`lost` (its process died), `timed-out`",
    "reason": "the slug of the error; of a sandbox's end also `worn` (old, grown or dead), "
    "`not-started`, `crashed`",
    "kind": "of a look-up: `image`, `book`, `blob`; of what waits or is offered: `image`, "
    "`file`; of bytes: `picture`, "
    "`file`; of a Celery job: the kind of file, `-` or `unknown`",
    "result": "`hit`, `miss`, `busy` (somebody loads or changes it: the source was asked), "
    "`away` (no Redis)",
    "pool": "`transactions` (SQLAlchemy's) and `reads` (the driver's own)",
    "route": "the template of a path, `(unmatched)` for unknown ones, the prefix for Django's",
    "worker": "only where several processes share a port: which of them",
}


def metrics_page() -> str:
    """Every metric with its type and labels, and what the labels say."""
    held = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    registry = http_metrics.Metrics().registry
    own = [*registry._collector_to_names, *held]
    rows = [
        _metric(metric, "relay" if metric in metrics.RELAY._collector_to_names else "")
        for metric in own
    ]
    return "\n".join(
        [
            "# Metrics",
            MADE,
            "",
            (
                "Every role shows them at `/metrics` on `metrics_port`; without it the API does "
                "on its port"
            ),
            (
                "([how to watch an instance](../howto/observe.md)). A role shows what it has "
                "measured; one with labels"
            ),
            "appears with its first value. Durations are in seconds and sizes in bytes.",
            (
                "Metrics of relays that speak of all processes are the same from every relay: use "
                "`max`, not `sum`."
            ),
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            (
                "| `atelier_build_info` | gauge | `version`, `python` | Version of Atelier and of "
                "Python. |"
            ),
            "| `atelier_log_errors_total` | counter | | Log lines of level ERROR or above. |",
            (
                "| `process_*` | | | CPU, memory, descriptors and start of the process, as every "
                "client names them. |"
            ),
            "",
            "| label | values |",
            "|---|---|",
            *(f"| `{name}` | {values} |" for name, values in LABELS.items()),
            "",
        ]
    )


def _metric(metric: Any, role: str) -> str:
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return (
        f"| `{name}` | {family.type} | {labels} | "
        f"{family.documentation}{' (relay)' if role else ''} |"
    )


def errors_page() -> str:
    """Every problem type, by group, from the table that the program answers by."""
    lines = [ERRORS_HEAD]
    for heading, group in GROUPS.items():
        lines += [f"## {heading}", ""]
        lines += [ERRORS_REASONS] if group is REASONS else []
        for slug, known in group.items():
            status = "" if known.status is None else f"{status_line(known)} "
            text = textwrap.fill(status + known.description, COLUMNS, break_on_hyphens=False)
            lines += [f"### {slug}", "", text, ""]
    return "\n".join(lines)


PAGES = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "api.md": operations_page,
    "errors.md": errors_page,
    "metrics.md": metrics_page,
}


def main() -> int:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
