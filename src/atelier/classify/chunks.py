"""A chunk: a few thousand pictures as one job for any machine that sees the same files.

Its outcome is one file. A chunk may run twice, late, or on two machines at once: the file appears
whole or not at all, and the run that ordered it takes each picture's line once.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from atelier.classify.append import append
from atelier.classify.engine import Engine, Means
from atelier.classify.outcomes import Entry, Failure, Kind, Result
from atelier.classify.pool import Work
from atelier.disk import fsync

ALIVE_SECONDS = 5.0
"""Seconds between two touches of a running chunk's file, by which the run knows it is alive."""

DONE, PART, OBSOLETE = ".done", ".part", "obsolete"
RESULT, FAILURE, GIVEN_UP = b"+", b"-", b"!"


class Piece(msgspec.Struct, array_like=True):
    """One picture of a chunk; names are bytes, which JSON carries as base64."""

    n: int
    path: bytes
    retried: Kind | Literal[""] = ""


class Chunk(msgspec.Struct):
    """A job: the pictures, how to classify them, and the folder for the outcome."""

    name: str
    folder: str
    root: bytes
    pieces: list[Piece]
    url: str
    headers: list[tuple[str, str]]
    rotate: bool
    resize: bool
    pixels: int
    seconds: float
    memory: int
    timeout: float
    tries: int
    concurrency: int
    wrong_answers: int = 0  # of a run from before there was the option

    @property
    def done(self) -> Path:
        """The file that holds the outcome once the chunk is done."""
        return Path(self.folder) / (self.name + DONE)

    def means(self) -> Means:
        """The means of classification: one process, because Celery runs one job per core."""
        work = Work(
            self.root,
            self.rotate,
            self.resize,
            self.pixels,
            seconds=self.seconds,
            memory=self.memory,
        )
        return Means(
            work,
            self.url,
            tuple(self.headers),
            1,
            self.concurrency,
            self.timeout,
            self.tries,
            self.wrong_answers,
        )


class Outcome:
    """The lines of a chunk, collected in a temporary file that becomes the outcome at the end."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.path = Path(chunk.folder) / f"{chunk.name}.{uuid.uuid4().hex}{PART}"
        self._descriptor = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._turn = asyncio.Lock()

    async def result(self, line: Result) -> None:
        """Append an answer to the outcome."""
        await self._write(RESULT + msgspec.json.encode(line))

    async def failure(self, line: Failure) -> None:
        """Append a failure to the outcome."""
        await self._write(FAILURE + msgspec.json.encode(line))

    async def given_up(self, reason: str) -> None:
        """Append why the rest was not asked for."""
        await self._write(GIVEN_UP + msgspec.json.encode(reason))

    async def _write(self, line: bytes) -> None:
        async with self._turn:
            for seconds in append(self._descriptor, line + b"\n"):
                await asyncio.sleep(seconds)

    def finish(self) -> None:
        """Publish the file as the outcome, durably."""
        os.fsync(self._descriptor)
        self.path.replace(self._chunk.done)
        fsync(self._chunk.done.parent)

    def close(self) -> None:
        """Close the file, and remove it if it did not become the outcome."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)


async def do(chunk: Chunk) -> str:
    """Run a chunk, unless its outcome exists or its run was discarded; says which it was."""
    if chunk.done.exists():
        return "done before"
    try:
        outcome = Outcome(chunk)
    except FileNotFoundError:
        return OBSOLETE
    try:
        engine = Engine(chunk.means(), outcome)
        await engine.run(lambda: _feed(engine, chunk), [_live(outcome.path)])
        if engine.given_up:
            await outcome.given_up(engine.given_up)
        outcome.finish()
    finally:
        outcome.close()
    return f"{len(chunk.pieces)} pictures"


async def _feed(engine: Engine, chunk: Chunk) -> None:
    for piece in chunk.pieces:
        await engine.put(Entry(piece.n, piece.path, 0, piece.retried))
    await engine.idle()


async def _live(path: Path) -> None:
    while True:
        await asyncio.sleep(ALIVE_SECONDS)
        os.utime(path)


def read(path: Path) -> Iterator[Result | Failure | str]:
    """The lines of an outcome; a text is why the rest was given up."""
    with path.open("rb") as file:
        for line in file:
            if line[:1] == RESULT:
                yield _results.decode(line[1:])
            elif line[:1] == GIVEN_UP:
                yield msgspec.json.decode(line[1:], type=str)
            else:
                yield _failures.decode(line[1:])


_results = msgspec.json.Decoder(Result)
_failures = msgspec.json.Decoder(Failure)
