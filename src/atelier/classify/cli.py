"""The options of `atelier classify`, checked, and its subcommands `work` and `report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atelier.errors import AtelierError

if TYPE_CHECKING:
    from rich.console import Console

    from atelier.classify.engine import Recorder
    from atelier.classify.run import Doer

USAGE_ERROR = 2
CONCURRENCY_PER_WORKER = 16
"""Requests in flight that keep one worker (2 ms a picture) busy if the service takes 30 ms."""


EPILOG = (
    "`atelier classify report RESULTS...` reports runs, going on or finished, or all shards "
    "together; "
    "`atelier classify worker BROKER` works for --celery."
)

runner = typer.Typer(add_completion=False)
reporter = typer.Typer(add_completion=False)
worker = typer.Typer(add_completion=False)


def main(arguments: list[str]) -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    command, name = runner, "atelier classify"
    if arguments and arguments[0] in ("report", "worker"):
        command, name = (
            (reporter if arguments[0] == "report" else worker),
            f"{name} {arguments[0]}",
        )
        arguments = arguments[1:]
    try:
        command(arguments, prog_name=name)
    except AtelierError as error:
        typer.secho(f"atelier: {error.detail or error.title}", fg=typer.colors.RED, err=True)
        raise SystemExit(USAGE_ERROR) from None


@runner.command(epilog=EPILOG)
def run(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            readable=True,
            help="Where the pictures are.",
        ),
    ],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The service; pictures go to URL/api/classify.")
    ],
    *,
    rotate: Annotated[
        bool, typer.Option("--rotate/--no-rotate", help="Turn by 90 degrees counter-clockwise.")
    ] = True,
    resize: Annotated[bool, typer.Option("--resize/--no-resize", help="Halve each side.")] = True,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Transforming processes; default: one per core."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Requests at once; default: 16 per worker."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a request may take.")
    ] = 60.0,
    tries: Annotated[
        int, typer.Option(min=1, help="Tries per picture, while the service is up.")
    ] = 5,
    header: Annotated[
        list[str] | None, typer.Option(help='A header of each request, "Name: value"; repeatable.')
    ] = None,
    stats_url: Annotated[
        str | None,
        typer.Option(help="Where to post time, class and size of each answer, in batches."),
    ] = None,
    output: Annotated[
        Path, typer.Option(dir_okay=False, help="Results, one JSON line each.")
    ] = Path("classified.jsonl"),
    restart: Annotated[
        bool, typer.Option("--restart/--resume", help="Forget an earlier run, or go on with it.")
    ] = False,
    recursive: Annotated[
        bool,
        typer.Option("--recursive", help="Go into folders; links to folders are not followed."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="At the end, try what failed once more.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N", help="Only the I-th of N equal parts; each with its own --output."
        ),
    ] = "1/1",
    log_every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between lines where there is no terminal.")
    ] = 10.0,
    celery: Annotated[
        str | None,
        typer.Option(
            metavar="BROKER",
            help="Have `atelier classify worker BROKER` do it, on any number of machines.",
        ),
    ] = None,
    chunk: Annotated[
        int, typer.Option(min=1, max=100_000, help="Pictures per Celery job.")
    ] = 4000,
    chunk_silence: Annotated[
        float,
        typer.Option(
            min=6, help="Seconds without a sign of life after which a job is sent again."
        ),
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Classify the JPEG and PNG pictures of a directory, resuming where an earlier run stopped."""
    import asyncio

    from atelier.classify.command import Command
    from atelier.classify.engine import Engine, Means
    from atelier.classify.http_client import Endpoint
    from atelier.classify.journal import Files, Journal, Subject, discard
    from atelier.classify.pool import Work
    from atelier.classify.telemetry import Telemetry
    from atelier.settings import load

    settings = load()
    root = os.fsencode(directory.resolve())
    part = _shard(shard)
    processes = workers or os.cpu_count() or 1
    requests = concurrency or CONCURRENCY_PER_WORKER * processes
    cost = {"seconds": settings.decode_seconds, "memory": settings.decode_memory}
    work = Work(root, rotate, resize, settings.pixel_limit, **cost)
    means = Means(
        work, url, tuple(map(_header, header or [])), processes, requests, timeout, tries
    )
    Endpoint(url, means.headers)  # an error now rather than after the first picture
    files = Files(output)
    console = _console()

    async def go() -> int:
        telemetry = Telemetry(stats_url) if stats_url else None
        if restart:
            discard(files)
        journal = Journal(files, Subject(root, recursive, rotate, resize, *part))

        def make(recorder: Recorder) -> Doer:
            if celery is None:
                return Engine(means, recorder)
            from atelier.classify.cluster import Cluster

            return Cluster(means, recorder, journal, celery, size=chunk, silence=chunk_silence)

        command = Command(
            journal,
            make,
            telemetry,
            console=console,
            as_json=json,
            seconds=log_every,
            retry_failed=retry_failed,
        )
        return await command.run()

    raise typer.Exit(asyncio.run(go()))


@worker.command()
def work(
    broker: Annotated[str, typer.Argument(metavar="BROKER", help="The URL given to --celery.")],
    *,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Chunks at once; default: one per core.")
    ] = None,
) -> None:
    """Classify the chunks of `atelier classify --celery BROKER`.

    Start one on each machine that sees the same files.
    """
    from atelier.classify.jobs import serve

    serve(broker, concurrency or os.cpu_count() or 1)


@reporter.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="Results of finished or running runs."),
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Report one run, or several (shards) together."""
    from msgspec.json import encode

    from atelier.classify.report import merged, text

    made = merged(results)
    typer.echo(encode(made).decode() if json else text(made))


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (
        number.isascii()
        and number.isdigit()
        and count.isascii()
        and count.isdigit()
        and 1 <= int(number) <= int(count)
    ):
        raise typer.BadParameter(f"{text!r} is not I/N with 1 <= I <= N", param_hint="--shard")
    return int(number) - 1, int(count)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter('a header is "Name: value"', param_hint="--header")
    return name.strip(), value.strip()


def _console() -> Console:
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(stderr=True)
    handler: logging.Handler
    if console.is_terminal:
        handler, layout = RichHandler(console=console, show_path=False), "%(message)s"
    else:
        handler, layout = logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=layout, handlers=[handler])
    return console
