"""What is done, so that a killed run goes on where it was: the lines, and a small checkpoint.

The lines are the only truth. The checkpoint says how far they have been counted; what stands
behind it is counted again on opening, so the two cannot disagree. Knows nothing of how pictures
are found or classified.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from atelier.classify.lines import Lines, lines_after
from atelier.classify.outcomes import Entry, Failure, Result
from atelier.classify.resume import ResumePosition, ranges
from atelier.classify.stats import Stored, Totals
from atelier.disk import FULL, fsync, lock, replace
from atelier.errors import AtelierError

After = Callable[[int], Iterator[tuple[int, bytes]]]

Phase = Literal["walk", "retry"]

FORMAT = 1

encoder = msgspec.json.Encoder()
result_decoder = msgspec.json.Decoder(Result)
failure_decoder = msgspec.json.Decoder(Failure)

_log = logging.getLogger(__name__)


class JournalError(AtelierError):
    """The journal cannot be used."""

    slug = "classify-journal"


class Subject(msgspec.Struct, frozen=True):
    """What a run is about: results of another subject must not be mixed with its own."""

    root: bytes
    recursive: bool
    rotate: bool
    resize: bool
    shard: int
    shards: int


class Reached(msgspec.Struct):
    """How far one source is done: all before a position, and these ranges of numbers beyond it."""

    position: int = 0
    ahead: list[tuple[int, int]] = []


class Checkpoint(msgspec.Struct):
    """All that is needed to go on, but for the lines behind `results` and `failed` (bytes)."""

    subject: Subject
    totals: Stored
    walk: Reached
    retry: Reached
    phase: Phase = "walk"
    round: int = 0
    retrying: bool = False
    results: int = 0
    results_print: int = 0
    failed: int = 0
    failed_print: int = 0
    folders_not_entered: int = 0
    format: int = FORMAT
    run: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)


_checkpoints = msgspec.json.Decoder(Checkpoint)


@dataclass(frozen=True)
class Files:
    """Where a run keeps what."""

    results: Path

    @property
    def failed(self) -> Path:
        """Pictures that failed, one line each."""
        return self.results.with_name(self.results.stem + ".failed.jsonl")

    @property
    def folder(self) -> Path:
        """The folder of the journal, beside the results."""
        return self.results.with_name(self.results.name + ".journal")

    @property
    def checkpoint(self) -> Path:
        """How far the lines are counted."""
        return self.folder / "checkpoint.json"

    @property
    def walk(self) -> Path:
        """The log of the pictures that were found."""
        return self.folder / "walk.log"

    def retried(self, number: int) -> Path:
        """The failures that a round of retries is about."""
        return self.folder / f"retry-{number}.jsonl"


class Journal:
    """An open journal: write outcomes to it, ask it where to go on."""

    def __init__(self, files: Files, subject: Subject) -> None:
        self.files = files
        self._turn = asyncio.Lock()
        self._done: set[int] = set()
        _make(files.folder)
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, _locked(files.folder))
            self.state = load(files) or _begun(files, subject)
            _same(self.state.subject, subject)
            self.state.subject = subject
            self._undo_begun_round()
            self._results = opened.enter_context(contextlib.closing(Lines(files.results)))
            self._failed = Lines(files.failed)
            opened.callback(lambda: self._failed.close())  # noqa: PLW0108 - a round of retries opens another
            self.totals = Totals(self.state.totals)
            self.frontier = self._begin(self.state.phase)
            self._recover()
            self._commit(self._snapshot())
            self.close = opened.pop_all().close

    def open(self, entry: Entry) -> bool:
        """Take note of a picture about to be classified; False when that is done already."""
        self.frontier.open(entry)
        if entry.n not in self._done:
            return True
        self._done.discard(entry.n)
        self.frontier.done(entry.n)
        return False

    async def result(self, line: Result) -> None:
        """Write an answer; from now on the picture is done."""
        await self._results.write(encoder.encode(line) + b"\n")
        self.totals.result(line)
        self.frontier.done(line.n)

    async def failure(self, line: Failure) -> None:
        """Write a failure; from now on the picture is done, until failures are tried again."""
        await self._failed.write(encoder.encode(line) + b"\n")
        self.totals.failure(line)
        self.frontier.done(line.n)

    async def checkpoint(self) -> None:
        """Make everything durable and note how far it is.

        On a full disk the old checkpoint stays good.
        """
        async with self._turn:
            await asyncio.to_thread(self._commit, self._snapshot())

    async def enter(self, phase: Phase) -> None:
        """Turn to the other source; nothing may be open."""
        if phase != self.state.phase:
            await self.checkpoint()
            async with self._turn:
                self.frontier = self._begin(phase)
                self._commit(self._snapshot())

    async def begin_round(self) -> None:
        """Make the present failures the source of a round of retries."""
        await self.checkpoint()
        async with self._turn:
            number = self.state.round + 1
            self._failed.close()
            self.files.failed.replace(self.files.retried(number))
            fsync(self.files.folder)
            self._failed = Lines(self.files.failed)
            self.state.round, self.state.retrying, self.state.retry = number, True, Reached()
            self._commit(self._snapshot())

    async def end_round(self) -> None:
        """All of a round has been tried."""
        self.state.retrying = False
        await self.checkpoint()
        self.files.retried(self.state.round).unlink(missing_ok=True)

    @property
    def has_failures(self) -> bool:
        """Whether a round of retries would have anything to do."""
        return self._failed.size > 0

    def _undo_begun_round(self) -> None:
        """A kill between the renaming of the failures and the checkpoint that says so: rename them back."""
        begun = self.files.retried(self.state.round + 1)
        if begun.exists():
            begun.replace(self.files.failed)

    def _recover(self) -> None:
        """Count the lines behind the checkpoint: their pictures are done."""
        for lines, position, fingerprint in (
            (self._results, self.state.results, self.state.results_print),
            (self._failed, self.state.failed, self.state.failed_print),
        ):
            if lines.size < position or lines.fingerprint(position) != fingerprint:
                raise JournalError(
                    f"{lines.path} is not as the journal left it: put it back, or --restart"
                )
            lines.mend()
        self._done.update(
            count_tail(self.state, self.totals, self._results.after, self._failed.after)
        )

    def _begin(self, phase: Phase) -> ResumePosition:
        """Go on with a phase; what is done beyond its position is skipped as it comes."""
        reached = self._reached(phase)
        self._done = {number for first, end in reached.ahead for number in range(first, end)}
        self.state.phase = phase
        return ResumePosition(reached.position)

    def _reached(self, phase: Phase) -> Reached:
        return self.state.walk if phase == "walk" else self.state.retry

    def _snapshot(self) -> bytes:
        state, reached = self.state, self._reached(self.state.phase)
        reached.position, reached.ahead = (
            self.frontier.position,
            ranges(self.frontier.ahead | self._done),
        )
        state.results, state.failed = self._results.size, self._failed.size
        state.results_print = self._results.fingerprint(state.results)
        state.failed_print = self._failed.fingerprint(state.failed)
        state.totals = self.totals.stored()
        return encoder.encode(state)

    def _commit(self, snapshot: bytes) -> None:
        try:
            self._results.sync()
            self._failed.sync()
            replace(self.files.checkpoint, snapshot)
        except OSError as error:
            if error.errno not in FULL:
                raise
            _log.warning("no room for a checkpoint (%s); the last one stays", error.strerror)


def load(files: Files) -> Checkpoint | None:
    """The checkpoint, if there is one."""
    try:
        return _checkpoints.decode(files.checkpoint.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise JournalError(f"{files.checkpoint} cannot be read ({error}); --restart") from error


def peek(files: Files) -> tuple[Checkpoint, Totals]:
    """The state of a run that may be going on, without its lock."""
    state = load(files)
    if state is None:
        raise JournalError(f"{files.results} has no journal beside it")
    totals = Totals(state.totals)
    with files.results.open("rb") as results, files.failed.open("rb") as failed:
        count_tail(
            state,
            totals,
            partial(lines_after, results.fileno()),
            partial(lines_after, failed.fileno()),
        )
    return state, totals


def count_tail(state: Checkpoint, totals: Totals, results: After, failed: After) -> Iterator[int]:
    """Count the lines that stand behind a checkpoint into its totals.

    Yields the numbers of their pictures.
    """
    numbers = []
    for _, raw in results(state.results):
        result = result_decoder.decode(raw)
        totals.result(result)
        numbers.append(result.n)
    for _, raw in failed(state.failed):
        failure = failure_decoder.decode(raw)
        totals.failure(failure)
        numbers.append(failure.n)
    return iter(numbers)


def discard(files: Files) -> None:
    """Forget a run: the lock is taken first, so not while it is going on."""
    if not files.folder.exists():
        files.results.unlink(missing_ok=True)
        return
    held = _locked(files.folder)
    # The checkpoint first: without it nothing is resumed
    for path in (files.checkpoint, files.results, files.failed):
        path.unlink(missing_ok=True)
    shutil.rmtree(files.folder)
    os.close(held)


def _begun(files: Files, subject: Subject) -> Checkpoint:
    if files.results.exists() and files.results.stat().st_size:
        raise JournalError(
            f"{files.results} exists and has no journal: give another --output, or --restart"
        )
    return Checkpoint(subject, Totals().stored(), Reached(), Reached())


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise JournalError(f"{folder} cannot be made: {error.strerror}") from error


def _same(was: Subject, now: Subject) -> None:
    for name in Subject.__struct_fields__:
        if name == "recursive" and now.recursive:
            continue  # what was found stays, and the folders come behind it
        if getattr(was, name) != getattr(now, name):
            values = f"{_shown(getattr(was, name))}, now {_shown(getattr(now, name))}"
            raise JournalError(
                f"the journal is of a run with another {name} ({values}): --restart, or another "
                "--output"
            )


def _shown(value: object) -> object:
    return os.fsdecode(value) if isinstance(value, bytes) else value


def _locked(folder: Path) -> int:
    try:
        return lock(folder / "lock")
    except BlockingIOError:
        raise JournalError(f"another run is using {folder}") from None
    except OSError as error:
        raise JournalError(f"{folder} cannot be locked: {error.strerror}") from error
