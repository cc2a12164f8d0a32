"""`python -m benchmarks.capacity`: a running instance, this machine, or only the pages."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from msgspec.json import encode

from atelier.classify.http_client import Endpoint
from atelier.errors import AtelierError
from benchmarks.capacity import budget, pages, report, scaling, sweep
from benchmarks.capacity.arrivals import Limits
from benchmarks.capacity.operations import ABOUT
from benchmarks.capacity.picture import photograph
from benchmarks.capacity.results import Report
from benchmarks.capacity.run import Plan, Run

DONE, NOT_ALL, USAGE, INTERRUPTED = 0, 1, 2, 130
ALL = ",".join(ABOUT)
PICTURE_BYTES_MOST = 5 * 1024 * 1024
LEAST_SECONDS = 3.0
"""Of each operation: less says nothing."""

app = typer.Typer(
    help="How many requests a second Atelier carries, per operation, and what stops it there.",
    no_args_is_help=True,
    add_completion=False,
)

Operations = Annotated[str, typer.Option("--mix", help="Operations to measure, by comma.")]


@app.command()
def instance(
    *,
    url: Annotated[str, typer.Option(help="The running instance.")] = "http://127.0.0.1:8000",
    duration: Annotated[
        str,
        typer.Option(
            "--for", help="Time of measuring, shared by all: 60s, 5m. Preparing comes on top."
        ),
    ] = "4m",
    requests: Annotated[
        int, typer.Option(min=100, help="Requests of the whole run, at most.")
    ] = 1_000_000,
    mix: Operations = ALL,
    p95: Annotated[
        str, typer.Option(help="A rate holds while 95 % of the answers come within this.")
    ] = "250ms",
    ready: Annotated[str, typer.Option(help="The same for uploads, until they are ready.")] = "2s",
    picture: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="What is uploaded; none: 640x480, 80 KB.",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="A /metrics address that tells of queues (the relay's); repeatable."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            file_okay=False, help="Folder of the report: capacity.md, capacity.json, plots."
        ),
    ] = Path("capacity"),
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Load an instance that is not on this machine.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure a running instance.

    What it makes it deletes; until then its books are in the catalogue. Subscribers and
    WatchBooks hear of all of it, and ids go on behind it.
    """
    operations = _operations(mix)
    seconds = _seconds(duration, "--for")
    least = LEAST_SECONDS * len(operations)
    if seconds < least:
        raise typer.BadParameter(
            f"{len(operations)} operations need {least:.0f} s or more", param_hint="--for"
        )
    limits = Limits(_seconds(p95, "--p95"), _seconds(ready, "--ready"))
    content = _content(picture) if picture else photograph()
    _writable(output)
    for address in metrics or ():
        Endpoint(address)  # an error now rather than after the first trial
    plan = Plan(
        url, operations, limits, seconds, requests, content, allow_remote, _tell, metrics or ()
    )
    raise typer.Exit(_run(plan, output, as_json=json))


@app.command()
def machine(
    *,
    duration: Annotated[str, typer.Option("--for", help="Time of each run.")] = "6m",
    mix: Operations = ALL,
) -> None:
    """Measure what this machine carries with 1, 2, 4, ... cores, and write the pages.

    Figures of operations that are not measured this time stay.
    """
    operations = _operations(mix)
    for cores in sweep.steps(len(os.sched_getaffinity(0))):
        sweep.measure(cores, duration, operations)
    _write_pages()


@app.command(name="pages")
def write_pages() -> None:
    """Write the pages and plots from the figures of the last time."""
    _write_pages()


def main() -> None:
    """The entry point: errors of use are one line and exit code 2, never a traceback."""
    try:
        app()
    except AtelierError as error:
        typer.secho(f"capacity: {error.detail or error.title}", fg=typer.colors.RED, err=True)
        raise SystemExit(USAGE) from None


def _write_pages() -> None:
    pages.write()
    scaling.write()


def _run(plan: Plan, output: Path, *, as_json: bool) -> int:
    run = Run(plan)

    async def go() -> bool:
        task = asyncio.ensure_future(run.run())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return False
        return True

    _rarely_collect()
    finished = False
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            finished = runner.run(go())
    finally:
        if run.report and run.report.operations:  # what was measured is not lost with what was not
            _publish(run.report, output, as_json=as_json)
    if not finished or run.report is None:
        return INTERRUPTED
    return DONE if all(measured.knee for measured in run.report.operations) else NOT_ALL


def _publish(made: Report, output: Path, *, as_json: bool) -> None:
    report.write(made, output)
    typer.echo(encode(made).decode() if as_json else report.text(made))
    typer.echo(f"the report is {output / 'capacity.md'}", err=True)


def _tell(text: str) -> None:
    """Progress goes beside the report, not into it."""
    typer.echo(text, err=True)


def _operations(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in ABOUT]:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: know {', '.join(ABOUT)}", param_hint="--mix"
        )
    if not names:
        raise typer.BadParameter("name at least one operation", param_hint="--mix")
    return names


def _seconds(text: str, option: str) -> float:
    try:
        return budget.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _content(picture: Path) -> bytes:
    if picture.stat().st_size > PICTURE_BYTES_MOST:
        raise typer.BadParameter(
            f"{picture} is larger than {PICTURE_BYTES_MOST} bytes", param_hint="--picture"
        )
    return picture.read_bytes()


def _writable(folder: Path) -> None:
    """Refuse before the run rather than lose its report after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}", param_hint="--output") from error


def _rarely_collect() -> None:
    """The collector's pauses would be taken for the server's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
