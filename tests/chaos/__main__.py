"""`python -m tests.chaos`, which is `make chaos`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import socket
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.capacity.budget import seconds
from tests.chaos import report
from tests.chaos.campaign import run

AMQP_VARIABLE, AMQP_DEFAULT = "ATELIER_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/"
KNOCK_SECONDS = 3.0


def main() -> int:
    """Run a campaign; 0 without a fault, 1 with any."""
    options = _options()
    logging.disable(logging.ERROR)  # our own subscriber's; the instance writes its own files
    amqp_url = None if options.without_rabbitmq else _broker()
    folder = Path(tempfile.mkdtemp(prefix="atelier-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's user enters it when root runs this
    _say(f"seed {options.seed}, in {folder}, events on {'RabbitMQ' if amqp_url else 'Redis'}")
    result = asyncio.run(
        run(
            options.seed,
            blows=options.blows,
            seconds=None if options.blows else options.duration,
            amqp_url=amqp_url,
            log=_say,
            folder=folder,
        )
    )
    _say(report.text(result))
    if found := report.troubles(folder / "data" / "logs"):
        _say("\n".join(["what the logs say most often of errors:", *found]))
    if result.faults or options.keep:
        _say(f"logs and data are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if result.faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos", description="Kill every part of a loaded instance; is anything lost?"
    )
    parser.add_argument(
        "--for",
        dest="duration",
        type=seconds,
        default="10m",
        help="time of the blows: 90s, 10m, 2h",
    )
    parser.add_argument("--blows", type=int, help="so many blows, however long they take")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="repeats the plan of a campaign"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder without a fault, too")
    parser.add_argument(
        "--without-rabbitmq", action="store_true", help=f"although {AMQP_VARIABLE} answers"
    )
    return parser.parse_args()


def _broker() -> str | None:
    """The URL of a RabbitMQ that is at hand."""
    url = os.environ.get(AMQP_VARIABLE, AMQP_DEFAULT)
    parts = urlsplit(url)
    address = parts.hostname, parts.port or 5672
    with suppress(OSError), closing(socket.create_connection(address, timeout=KNOCK_SECONDS)):
        return url
    return None


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what a command prints


if __name__ == "__main__":
    sys.exit(main())
