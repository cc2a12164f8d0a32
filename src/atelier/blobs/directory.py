"""The blob store in a folder of the local file system; it survives kill -9 and power failure.

A blob is written to `.incoming` in the same file system, fsynced, linked to its name (which fails
when that exists) and the folder fsynced. Folders are never removed: a `put` relies on its folder's
own entry being on disk already.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, TypeVar

from atelier.blobs import Stat, check_key, check_prefix, is_key
from atelier.disk import FULL, clear, fsync
from atelier.errors import Conflict, NotFound, Unavailable

RETRY_SECONDS = 30  # an operator has to make room, or to repair the folder
INCOMING, MARK = ".incoming", ".atelier"  # no key begins with a dot
# Fsync waits for the disk, not for a core; the file system joins concurrent ones into one flush
THREADS = 16
CHUNK_BYTES = (
    256 * 1024
)  # per piece of a stream: large enough that the hop to a thread does not matter
FOLDER_MODE, FILE_MODE = (
    0o750,
    0o640,
)  # pictures are private: nothing for other users of the machine
UNUSABLE = {
    errno.EACCES: "the folder of blobs is closed to us",
    errno.EPERM: "the folder of blobs is closed to us",
    errno.EROFS: "the folder of blobs is read-only",
    errno.EIO: "the disk of the blobs is broken",
    errno.ESTALE: "the folder of blobs is gone from its server",
    errno.ENOTCONN: "the folder of blobs is gone from its server",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
}
NO_FOLDER = "the folder of blobs is no folder"
# On another file system; owned by another user, so that it may not be linked.
FOREIGN = {errno.EXDEV, errno.EPERM}

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class DirectoryBlobs:
    """Blobs as files below `root`, one file per key.

    Any number of processes may use the folder at once.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._durable: set[Path] = set()  # folders whose own entries are known to be on disk

    @property
    def incoming(self) -> Path:
        """A folder for files that will be `put`.

        It is in the same file system, so that storing them is a rename.
        """
        folder = self.root / INCOMING
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        return folder

    async def put(self, key: str, source: bytes | Path) -> None:
        """Store `source` durably; see `Blobs.put`."""
        await self._run(self._put, key, source)

    async def get(self, key: str) -> bytes:
        """Return the whole blob."""
        return await self._run(self._get, key)

    async def stream(
        self, key: str, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` up to but without `stop`.

        A blob deleted meanwhile is still read to its end.
        """
        file = await self._run(self._open, key)
        try:
            await self._run(file.seek, start)
            left = None if stop is None else stop - start
            while chunk := await self._run(
                file.read, CHUNK_BYTES if left is None else max(0, min(CHUNK_BYTES, left))
            ):
                yield chunk
                left = left and left - len(chunk)
        finally:
            file.close()

    async def stat(self, key: str) -> Stat:
        """Return size and time of one blob."""
        return await self._run(self._stat, key)

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete blobs durably; a missing one is no error."""
        await self._run(_delete, [self.path(key) for key in keys])

    async def list(self, prefix: str = "") -> AsyncIterator[Stat]:
        """Yield every blob whose key begins with `prefix`, read folder by folder."""
        folders = [check_prefix(prefix).rpartition("/")[0]]
        while folders:
            inner, found = await self._run(_scan, self.root, folders.pop())
            folders += [folder for folder in inner if folder.startswith(prefix)]
            for stat in found:
                if stat.key.startswith(prefix):
                    yield stat

    def path(self, key: str) -> Path:
        """The blob's file, whether it exists or not."""
        return self.root / check_key(key)

    async def probe(self) -> None:
        """Create a file and remove it."""
        await self._run(self._probe)

    async def mark(self) -> bytes | None:
        """Return the text that `set_mark` stored."""
        return await self._run(self._mark)

    async def set_mark(self, content: bytes) -> None:
        """Store the text that says whose store this is."""
        await self._run(self._set_mark, content)

    async def sweep_temporary(self, older_than: timedelta) -> int:
        """Remove files in `incoming` that have not been written to for that long; return how many.

        Killed processes leave them.
        """
        return await self._run(_sweep, self.incoming, time.time() - older_than.total_seconds())

    async def _run(self, function: Callable[..., Result], *args: object) -> Result:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a thread by itself: there is no event loop to be held up
            return function(*args)
        return await loop.run_in_executor(self._threads, function, *args)

    def _put(self, key: str, source: bytes | Path) -> None:
        target = self.path(key)
        with _trouble_is_unavailable():
            self._make_folder(target.parent)
            if isinstance(source, Path) and _adopt(source, target):
                return
            temporary = self.incoming / secrets.token_hex(16)
            try:
                _write(temporary, source)
                _publish(temporary, target)
            finally:
                clear(temporary)
            if isinstance(source, Path):
                clear(source)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder, with its entry and those of all above it on disk.

        One that exists may have been made a moment ago by a process that has not fsynced it yet.
        """
        if folder in self._durable and folder.is_dir():
            return
        if folder != self.root:
            self._make_folder(folder.parent)
        try:
            folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            if not self.root.is_dir():
                raise Unavailable(NO_FOLDER, retry_after=RETRY_SECONDS) from error
            raise Conflict("a blob lies where a folder would be") from error
        with (
            suppress(PermissionError) if folder == self.root else nullcontext()
        ):  # passed through, but not read
            fsync(folder.parent)
        self._durable.add(folder)

    def _probe(self) -> None:
        with _anything_is_unavailable(), _trouble_is_unavailable():
            temporary = self.incoming / secrets.token_hex(16)
            temporary.touch(FILE_MODE, exist_ok=False)
            temporary.unlink()

    def _mark(self) -> bytes | None:
        with _anything_is_unavailable(), _trouble_is_unavailable(), suppress(FileNotFoundError):
            return (self.root / MARK).read_bytes()
        return None

    def _set_mark(self, content: bytes) -> None:
        with _anything_is_unavailable(), _trouble_is_unavailable():
            temporary = self.incoming / secrets.token_hex(16)
            _write(temporary, content)
            temporary.replace(self.root / MARK)
            fsync(self.root)

    def _get(self, key: str) -> bytes:
        with self._open(key) as file:
            return file.read()

    def _open(self, key: str) -> BinaryIO:
        with _missing_is_not_found():
            return self.path(key).open("rb")

    def _stat(self, key: str) -> Stat:
        with _missing_is_not_found():
            found = self.path(key).stat()
        if not S_ISREG(found.st_mode):
            raise NotFound("the content is gone")
        return _stat_of(key, found)


def _delete(paths: Iterable[Path]) -> None:
    folders = set()
    with _trouble_is_unavailable():
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                folders.add(path.parent)
        for folder in folders:
            fsync(folder)


def _scan(root: Path, folder: str) -> tuple[list[str], list[Stat]]:
    """List the folders and blobs directly in `folder`, which may be missing.

    Names that are no keys are skipped.
    """
    folders: list[str] = []
    stats: list[Stat] = []
    with (
        _trouble_is_unavailable(),
        suppress(FileNotFoundError, NotADirectoryError),
        os.scandir(root / folder) as entries,
    ):
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if not is_key(key):
                continue
            if entry.is_dir():
                folders.append(key)
            else:
                with suppress(FileNotFoundError):  # deleted since
                    stats.append(_stat_of(key, entry.stat()))
    return folders, stats


def _sweep(folder: Path, before: float) -> int:
    """Remove the files that were last written to before that moment."""
    swept = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # its writer has just finished
                if entry.stat().st_mtime < before:
                    swept += clear(Path(entry.path))
    return swept


def _adopt(source: Path, target: Path) -> bool:
    """Move a complete file in without copying.

    Returns False for a file on another file system or of another owner.
    """
    try:
        source.chmod(FILE_MODE)
        fsync(source)
        _publish(source, target)
    except OSError as error:
        if error.errno not in FOREIGN:
            raise
        return False
    return True


def _write(temporary: Path, source: bytes | Path) -> None:
    """Write a new file with the bytes of `source`, on disk on return."""
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        if isinstance(source, Path):
            with source.open("rb") as original:
                shutil.copyfileobj(original, file, CHUNK_BYTES)
        else:
            file.write(source)
        file.flush()
        os.fsync(descriptor)


def _publish(temporary: Path, target: Path) -> None:
    """Give a complete file its name, unless the name is taken, and make the name durable.

    `rename` would silently replace an existing blob; a link does not.
    """
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise Conflict("such a blob exists") from error
    clear(temporary)
    fsync(target.parent)


def _stat_of(key: str, stat: os.stat_result) -> Stat:
    return Stat(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


@contextmanager
def _missing_is_not_found() -> Iterator[None]:
    try:
        with _trouble_is_unavailable():
            yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound("the content is gone") from error


@contextmanager
def _trouble_is_unavailable() -> Iterator[None]:
    """Translate the system's errors to ours.

    Details name no path: clients read them; the log has it.
    """
    try:
        yield
    except OSError as error:
        detail = (
            "the disk takes no more" if error.errno in FULL else UNUSABLE.get(error.errno or 0)
        )
        if detail is None:
            raise
        log.warning("blobs: %s: %s", detail, error)
        raise Unavailable(detail, retry_after=RETRY_SECONDS) from error


@contextmanager
def _anything_is_unavailable() -> Iterator[None]:
    """For operations on the store as a whole, where a missing file is no missing blob."""
    try:
        yield
    except OSError as error:
        raise Unavailable(NO_FOLDER, retry_after=RETRY_SECONDS) from error
