"""The options of `atelier classify`, checked, and its subcommands `work` and `report`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atelier.errors import AtelierError

if TYPE_CHECKING:
    from rich.console import Console

    from atelier.classify.engine import Means, Recorder
    from atelier.classify.journal import Files, Journal, Subject
    from atelier.classify.pool import Work
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


Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", exists=True, file_okay=False, readable=True, help="Where the pictures are."
    ),
]
Url = Annotated[
    str, typer.Argument(metavar="URL", help="The service; pictures go to URL/api/classify.")
]
Rotate = Annotated[
    bool, typer.Option("--rotate/--no-rotate", help="Turn by 90 degrees counter-clockwise.")
]
Resize = Annotated[bool, typer.Option("--resize/--no-resize", help="Halve each side.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Transforming processes; default: one per core."),
]
Concurrency = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="Requests at once; default: 16 per worker.")
]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")]
Tries = Annotated[int, typer.Option(min=1, help="Tries per picture, while the service is up.")]
WrongAnswers = Annotated[
    int,
    typer.Option(
        min=0,
        help="Wrong answers in a row, once it counts as down, that end the run; 0: none.",
    ),
]
Headers = Annotated[
    list[str] | None, typer.Option(help='A header of each request, "Name: value"; repeatable.')
]
StatsUrl = Annotated[
    str | None,
    typer.Option(help="Where to post time, class and size of each answer, in batches."),
]
Output = Annotated[Path, typer.Option(dir_okay=False, help="Results, one JSON line each.")]
Restart = Annotated[
    bool, typer.Option("--restart/--resume", help="Forget an earlier run, or go on with it.")
]
Recursive = Annotated[
    bool, typer.Option("--recursive", help="Go into folders; links to folders are not followed.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="At the end, try what failed once more.")
]
Shard = Annotated[
    str,
    typer.Option(
        metavar="I/N", help="Only the I-th of N equal parts; each with its own --output."
    ),
]
LogEvery = Annotated[
    float, typer.Option(min=0.1, help="Seconds between lines where there is no terminal.")
]
Celery = Annotated[
    str | None,
    typer.Option(
        metavar="BROKER",
        help="Have `atelier classify worker BROKER` do it, on any number of machines.",
    ),
]
ChunkSize = Annotated[int, typer.Option(min=1, max=100_000, help="Pictures per Celery job.")]
ChunkSilence = Annotated[
    float,
    typer.Option(min=6, help="Seconds without a sign of life after which a job is sent again."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


@runner.command(epilog=EPILOG)
def run(
    directory: Directory,
    url: Url,
    *,
    rotate: Rotate = True,
    resize: Resize = True,
    workers: Workers = None,
    concurrency: Concurrency = None,
    timeout: Timeout = 60.0,
    tries: Tries = 5,
    wrong_answers: WrongAnswers = 4,
    header: Headers = None,
    stats_url: StatsUrl = None,
    output: Output = Path("classified.jsonl"),
    restart: Restart = False,
    recursive: Recursive = False,
    retry_failed: RetryFailed = False,
    shard: Shard = "1/1",
    log_every: LogEvery = 10.0,
    celery: Celery = None,
    chunk: ChunkSize = 4000,
    chunk_silence: ChunkSilence = 60.0,
    json: AsJson = False,
) -> None:
    """Classify the JPEG and PNG pictures of a directory, resuming where an earlier run stopped."""
    import asyncio

    from atelier.classify.command import Command
    from atelier.classify.engine import Means
    from atelier.classify.http_client import Endpoint
    from atelier.classify.journal import Files, Subject
    from atelier.classify.telemetry import Telemetry

    part = _shard(shard)
    work = _work(directory, rotate=rotate, resize=resize)
    processes = workers or os.cpu_count() or 1
    requests = concurrency or CONCURRENCY_PER_WORKER * processes
    headers = tuple(map(_header, header or []))
    means = Means(work, url, headers, processes, requests, timeout, tries, wrong_answers)
    Endpoint(url, means.headers)  # an error now rather than after the first picture
    console = _console()

    async def go() -> int:
        telemetry = Telemetry(stats_url) if stats_url else None
        subject = Subject(work.root, recursive, rotate, resize, *part)
        journal = _journal(Files(output), subject, restart=restart)
        command = Command(
            journal,
            _doer(means, journal, celery, size=chunk, silence=chunk_silence),
            telemetry,
            console=console,
            as_json=json,
            seconds=log_every,
            retry_failed=retry_failed,
        )
        return await command.run()

    raise typer.Exit(asyncio.run(go()))


def _work(directory: Path, *, rotate: bool, resize: bool) -> Work:
    """What is done to each picture, within the limits of the settings."""
    from atelier.classify.pool import Work
    from atelier.settings import load

    settings = load()
    return Work(
        os.fsencode(directory.resolve()),
        rotate,
        resize,
        settings.pixel_limit,
        seconds=settings.decode_seconds,
        memory=settings.decode_memory,
    )


def _journal(files: Files, subject: Subject, *, restart: bool) -> Journal:
    """The journal of a run that goes on, or of a new one."""
    from atelier.classify.journal import Journal, discard

    if restart:
        discard(files)
    return Journal(files, subject)


def _doer(
    means: Means, journal: Journal, broker: str | None, *, size: int, silence: float
) -> Callable[[Recorder], Doer]:
    """What makes the engine of this process, or with a broker a cluster of workers."""

    def make(recorder: Recorder) -> Doer:
        if broker is None:
            from atelier.classify.engine import Engine

            return Engine(means, recorder)
        from atelier.classify.cluster import Cluster

        return Cluster(means, recorder, journal, broker, size=size, silence=silence)

    return make


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
    json: AsJson = False,
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
