"""The journal of a run: its result lines and a checkpoint of constant size to resume from.

The lines are the only truth. The checkpoint says how far they have been counted; lines beyond it
are counted again on opening, so the two cannot disagree. Knows nothing of how pictures are found
or classified.
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
    """The subject of a run: results of another subject must not be mixed with its own."""

    root: bytes
    recursive: bool
    rotate: bool
    resize: bool
    shard: int
    shards: int


class Reached(msgspec.Struct):
    """How far one source is done: all before a position, and ranges of numbers beyond it."""

    position: int = 0
    ahead: list[tuple[int, int]] = []


class Checkpoint(msgspec.Struct):
    """Everything a resumed run needs, except the lines beyond `results` and `failed` (bytes)."""

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
    """The paths of a run's files."""

    results: Path

    @property
    def failed(self) -> Path:
        """The failures, one line each."""
        return self.results.with_name(self.results.stem + ".failed.jsonl")

    @property
    def folder(self) -> Path:
        """The journal's folder."""
        return self.results.with_name(self.results.name + ".journal")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint: how far the lines are counted."""
        return self.folder / "checkpoint.json"

    @property
    def walk(self) -> Path:
        """The walk log: the pictures found."""
        return self.folder / "walk.log"

    def retried(self, number: int) -> Path:
        """The failures that a round of retries reads."""
        return self.folder / f"retry-{number}.jsonl"


class Journal:
    """An open journal: takes outcomes, and knows where to resume."""

    def __init__(self, files: Files, subject: Subject) -> None:
        self.files = files
        self._turn = asyncio.Lock()
        self._done: set[int] = set()
        _make(files.folder)
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, _locked(files.folder))
            self.state = load(files) or _begun(files, subject)
            _same(self.state.subject, subject)
            # A resumed run may enter subfolders that the first one left out.
            self.state.subject = subject
            self._undo_begun_round()
            self._results = opened.enter_context(contextlib.closing(Lines(files.results)))
            self._failed = Lines(files.failed)
            opened.callback(lambda: self._failed.close())  # noqa: PLW0108 - a round of retries opens another
            self.totals = Totals(self.state.totals)
            self.resume_position = self._begin(self.state.phase)
            self._recover()
            self._commit(self._snapshot())
            self.close = opened.pop_all().close

    def open(self, entry: Entry) -> bool:
        """Note a picture about to be classified; false if it is done already."""
        self.resume_position.open(entry)
        if entry.n not in self._done:
            return True
        self._done.discard(entry.n)
        self.resume_position.done(entry.n)
        return False

    async def result(self, line: Result) -> None:
        """Write an answer; the picture is done from now on."""
        await self._results.write(encoder.encode(line) + b"\n")
        self.totals.result(line)
        self.resume_position.done(line.n)

    async def failure(self, line: Failure) -> None:
        """Write a failure; the picture is done until failures are retried."""
        await self._failed.write(encoder.encode(line) + b"\n")
        self.totals.failure(line)
        self.resume_position.done(line.n)

    async def checkpoint(self) -> None:
        """Make everything durable and record how far it is.

        On a full disk the old checkpoint stays valid.
        """
        async with self._turn:
            await asyncio.to_thread(self._commit, self._snapshot())

    async def enter(self, phase: Phase) -> None:
        """Switch to the other source; no picture may be open."""
        if phase != self.state.phase:
            await self.checkpoint()
            async with self._turn:
                self.resume_position = self._begin(phase)
                self._commit(self._snapshot())

    async def begin_round(self) -> None:
        """Make the present failures the source of a round of retries."""
        await self.checkpoint()
        async with self._turn:
            number = self.state.round + 1
            # The rename comes before its checkpoint: after a kill between the two,
            # `_undo_begun_round` renames the file back, and no failure is lost or counted twice.
            self._failed.close()
            self.files.failed.replace(self.files.retried(number))
            fsync(self.files.folder)
            self._failed = Lines(self.files.failed)
            self.state.round, self.state.retrying, self.state.retry = number, True, Reached()
            self._commit(self._snapshot())

    async def end_round(self) -> None:
        """End a round whose failures have all been retried."""
        self.state.retrying = False
        await self.checkpoint()
        self.files.retried(self.state.round).unlink(missing_ok=True)

    @property
    def has_failures(self) -> bool:
        """True if a round of retries would have work."""
        return self._failed.size > 0

    def _undo_begun_round(self) -> None:
        """Rename the failures back after a kill between their rename and its checkpoint."""
        begun = self.files.retried(self.state.round + 1)
        if begun.exists():
            begun.replace(self.files.failed)

    def _recover(self) -> None:
        """Count the lines beyond the checkpoint: their pictures are done."""
        for lines, position, fingerprint in (
            (self._results, self.state.results, self.state.results_print),
            (self._failed, self.state.failed, self.state.failed_print),
        ):
            # Another file, or an edited one: its lines would be counted wrongly or lost.
            if lines.size < position or lines.fingerprint(position) != fingerprint:
                raise JournalError(
                    f"{lines.path} is not as the journal left it: put it back, or --restart"
                )
            lines.mend()
        self._done.update(
            count_tail(self.state, self.totals, self._results.after, self._failed.after)
        )

    def _begin(self, phase: Phase) -> ResumePosition:
        """Resume a phase; pictures done beyond its position are skipped as they come."""
        reached = self._reached(phase)
        self._done = {number for first, end in reached.ahead for number in range(first, end)}
        self.state.phase = phase
        return ResumePosition(reached.position)

    def _reached(self, phase: Phase) -> Reached:
        return self.state.walk if phase == "walk" else self.state.retry

    def _snapshot(self) -> bytes:
        state, reached = self.state, self._reached(self.state.phase)
        reached.position, reached.ahead = (
            self.resume_position.position,
            # `_done` are numbers of an earlier run that this one has not come to yet.
            ranges(self.resume_position.ahead | self._done),
        )
        state.results, state.failed = self._results.size, self._failed.size
        state.results_print = self._results.fingerprint(state.results)
        state.failed_print = self._failed.fingerprint(state.failed)
        state.totals = self.totals.stored()
        return encoder.encode(state)

    def _commit(self, snapshot: bytes) -> None:
        try:
            # The lines first: a checkpoint must not count lines that a power cut takes away.
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
    """The state of a run that may still be going on, read without its lock."""
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
    """Count the lines beyond a checkpoint into its totals; yields their pictures' numbers."""
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
    """Delete a run; takes the lock first, so it fails while the run is going on."""
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
            continue  # the pictures found stay valid, and the subfolders are added
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
