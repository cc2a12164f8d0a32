"""Walks a directory breadth first into the walk log.

A resumed walk lists again only the folders that have changed. The log is also the queue of folders
to list, so memory does not grow with the tree. Knows nothing of pictures but their suffixes.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from atelier.classify.new_names import NewNames
from atelier.classify.walklog import FRAME_NAMES, Section, WalkWriter

ENDINGS = (b".jpg", b".jpeg", b".jpe", b".jfif", b".png")

UNSETTLED_NS = 2_000_000_000
"""A folder that changed this recently may change again without a new modification time."""

PUBLISH_SECONDS = 0.25
"""Longest time that a found picture is held back, in seconds: the start of a run waits for it."""


@dataclass(frozen=True)
class Walked:
    """The subject of a walk: a directory, with or without its subfolders.

    With shards, one of `shards` equal parts of it, counted from 0.
    """

    root: bytes
    recursive: bool
    shard: int = 0
    shards: int = 1

    def wants(self, path: bytes) -> bool:
        """True if this is the name of a picture of this shard."""
        return path.lower().endswith(ENDINGS) and (
            self.shards == 1 or zlib.crc32(path) % self.shards == self.shard
        )


class Found(NamedTuple):
    """One entry of a folder."""

    name: bytes
    folder: bool


class Listing(NamedTuple):
    """The result of a listing: the folder's time before it, and how many folders were left out."""

    mtime_ns: int
    left_out: int


class Walk:
    """One walk.

    `publish(count)` is called when pictures are durable in the log, `unreadable` for each folder
    that cannot be read.
    """

    def __init__(
        self,
        what: Walked,
        path: Path,
        publish: Callable[[int], None],
        unreadable: Callable[[bytes, str], None],
    ) -> None:
        self._what = what
        self._scratch = path.parent
        self._writer = WalkWriter(path)
        self._publish = publish
        self._unreadable = unreadable
        self._published = time.monotonic()
        self._synced = 0
        self._whole = True  # whether the last listing reached its folder's end
        self._passed = 0  # folders that the last listing did not enter
        self.left_out = 0
        """Folders that were not entered because the walk is not recursive."""

    def run(self) -> None:
        """Bring the log up to date with the directory."""
        self._sync()
        changed, listed, partial = self._compare()
        if changed or partial is not None:
            self._list_again(changed, partial)
            listed += partial is not None
        for number, folder in enumerate(self._folders()):
            if number >= listed:
                self._list(folder)
        self._sync()

    def _compare(self) -> tuple[set[bytes], int, bytes | None]:
        """The changed folders, how many folders are listed, and the one whose listing was cut."""
        changed: set[bytes] = set()
        listed, partial = 0, None
        for section in self._sections():
            if section.complete:
                listed += section.fresh
                # The last section of a folder holds its latest time, whatever earlier ones said.
                self._note(section, changed)
                self.left_out = section.left_out
            if section.fresh:
                partial = None if section.complete else section.folder
        return changed, listed, partial

    def _note(self, section: Section, changed: set[bytes]) -> None:
        try:
            same = section.mtime_ns == os.stat(self._absolute(section.folder)).st_mtime_ns  # noqa: PTH116 - names are bytes
        except FileNotFoundError:
            same = True  # its pictures fail one by one when they are opened
        except OSError:
            same = False
        same = same and not (self._what.recursive and section.left_out)
        (changed.discard if same else changed.add)(section.folder)

    def _list_again(self, changed: set[bytes], partial: bytes | None) -> None:
        new_names = NewNames(self._scratch)
        folders = changed | ({partial} if partial is not None else set())
        # The log is append-only: pictures keep their numbers, and only new names are added.
        for path in self._known(folders):
            new_names.known(path)
        listings = {folder: self._relist(folder, new_names) for folder in folders}
        for path in new_names.new():
            folder, _, name = path.removesuffix(b"/").rpartition(b"/")
            add = self._writer.folder if path.endswith(b"/") else self._writer.name
            add(folder, name, fresh=folder == partial)
            self._due()
        # The folder that was cut comes last: after a kill before that it is found cut again.
        for folder in sorted(folders, key=lambda folder: folder == partial):
            self._complete(folder, listings[folder], fresh=folder == partial)

    def _known(self, folders: set[bytes]) -> Iterator[bytes]:
        log = self._writer.log
        for frame in log.frames():
            sections = log.sections(frame)
            if not any(section.folder in folders for section in sections):
                continue
            names = iter(log.names(frame))
            for section in sections:
                own = [next(names) for _ in range(section.names)]
                if section.folder in folders:
                    yield from (_join(section.folder, name) for name in own)
                    yield from (_join(section.folder, name) + b"/" for name in section.folders)

    def _relist(self, folder: bytes, new_names: NewNames) -> Listing:
        settled = self._settled(folder)
        for found in self._entries(folder):
            new_names.listed(_join(folder, found.name) + (b"/" if found.folder else b""))
        return self._listing(settled)

    def _folders(self) -> Iterator[bytes]:
        """Every folder in the order found, the directory itself first.

        Reads the log that `_list` is writing, and ends when no folder is left in it.
        """
        yield b""
        offset = 0
        while True:
            for frame in self._writer.log.frames(offset):
                offset = frame.end
                for section in self._writer.log.sections(frame):
                    yield from (_join(section.folder, name) for name in section.folders)
            if not self._writer.flush():
                return

    def _list(self, folder: bytes) -> None:
        # The time before the listing: a change during it shows as a change at the next resume.
        settled = self._settled(folder)
        for found in self._entries(folder):
            add = self._writer.folder if found.folder else self._writer.name
            add(folder, found.name, fresh=True)
            self._due()
        self._complete(folder, self._listing(settled), fresh=True)
        self._due()

    def _listing(self, settled: int) -> Listing:
        return Listing(settled if self._whole else 0, self._passed)

    def _complete(self, folder: bytes, listing: Listing, *, fresh: bool) -> None:
        self._writer.complete(folder, listing.mtime_ns, fresh=fresh, left_out=listing.left_out)
        self.left_out = listing.left_out

    def _entries(self, folder: bytes) -> Iterator[Found]:
        recursive, wants = self._what.recursive, self._what.wants
        prefix = folder + b"/" if folder else b""
        self._whole, self._passed = True, 0
        try:
            with os.scandir(self._absolute(folder)) as entries:
                for entry in entries:
                    if wants(prefix + entry.name) and _is_file(entry):
                        yield Found(entry.name, folder=False)
                    elif _is_folder(entry):
                        if recursive:
                            yield Found(entry.name, folder=True)
                        else:
                            self._passed += 1
        except OSError as error:
            self._whole = False
            self._unreadable(folder, error.strerror or type(error).__name__)

    def _settled(self, folder: bytes) -> int:
        """A folder's modification time, or 0 if a later change might not alter it."""
        try:
            changed = os.stat(self._absolute(folder)).st_mtime_ns  # noqa: PTH116 - names are bytes
        except OSError:
            return 0
        return changed if time.time_ns() - changed > UNSETTLED_NS else 0

    def _absolute(self, folder: bytes) -> bytes:
        return os.path.join(self._what.root, folder)  # noqa: PTH118 - names are bytes, which pathlib refuses

    def _sections(self) -> Iterator[Section]:
        log = self._writer.log
        for frame in log.frames():
            yield from log.sections(frame)

    def _due(self) -> None:
        full = self._writer.count - self._synced >= FRAME_NAMES
        if full or (
            self._writer.count > self._synced
            and time.monotonic() - self._published > PUBLISH_SECONDS
        ):
            self._sync()

    def _sync(self) -> None:
        self._writer.sync()
        self._synced, self._published = self._writer.count, time.monotonic()
        self._publish(self._writer.count)


def _is_file(entry: os.DirEntry[bytes]) -> bool:
    """True for a file or a link to one, not for a link to a folder: links can make loops.

    A broken link counts as a file and fails when it is opened.
    """
    try:
        return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and not entry.is_dir())
    except OSError:
        return True


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
