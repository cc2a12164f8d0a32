"""Archives: their entries, their unpacked size, and bombs. Unpacks nothing to disk."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from atelier.errors import Invalid, Unsupported
from atelier.files.inspectors import Inspection, Task, office, zip_names
from atelier.files.inspectors.clean import clean
from atelier.files.inspectors.detect import is_tar

MIB = 1024 * 1024
ENTRIES = 100_000
NAMES = 100  # of entries that a result shows
VERIFIED_BYTES = 128 * MIB  # unpacked in all, to verify sizes and checksums
BOMB_BYTES, BOMB_RATIO = (
    64 * MIB,
    200,
)  # above both it is a bomb: deflate reaches 1032 at best, text about 10
CENTRAL_RECORD = b"PK\x01\x02"
CHUNK_BYTES = 256 * 1024
FIRST_BYTES = 512  # of a stream's input that are given at first; then twice as many each time
MAGIC_BYTES = 3  # by which a stream is known to follow
MEMBERS = 100_000  # streams of one file; bgzip makes one of each 64 KiB
LZMA_MEMORY = 128 * MIB  # of a dictionary; xz -9 needs 65
ENCRYPTED_FLAG = 1
_ZEROS = re.compile(rb"\0*+")
TAR_TYPES = {
    "application/gzip": "application/x-tar+gzip",
    "application/x-bzip2": "application/x-tar+bzip2",
    "application/x-xz": "application/x-tar+xz",
}


class BadArchive(Unsupported):
    """The archive is damaged and cannot be read."""

    slug = "bad-archive"


class ArchiveBomb(Invalid):
    """The archive unpacks to far more than an honest one."""

    slug = "archive-bomb"


class TooManyEntries(Invalid):
    """The archive has too many entries."""

    slug = "too-many-entries"


BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
    ValueError, IndexError, KeyError, NotImplementedError, RuntimeError, OverflowError,
    UnicodeError,
)  # fmt: skip


def inspect(task: Task, data: bytes) -> Inspection:
    """Raises BadArchive, ArchiveBomb, TooManyEntries."""
    try:
        if task.content_type == "application/zip":
            return _zip(data, task.languages)
        if task.content_type == "application/x-tar":
            return Inspection(
                "archive", task.content_type, {"format": "tar"} | _tar(io.BytesIO(data), len(data))
            )
        return _compressed(task.content_type, data)
    except BROKEN as error:
        raise BadArchive("The archive ends too early, or what is in it cannot be read.") from error


def _zip(data: bytes, languages: Sequence[str]) -> Inspection:
    if data.count(CENTRAL_RECORD) > ENTRIES:
        raise TooManyEntries(f"The limit is {ENTRIES} entries.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        unpacked = sum(info.file_size for info in infos)
        refuse_bomb(unpacked, len(data))
        about = office.describe(archive)
        names = zip_names.names_of(infos, languages)
        result = {
            "format": "zip",
            "entries": len(infos),
            "folders": sum(info.is_dir() for info in infos),
            "unpacked_size": unpacked,
            "encrypted": sum(bool(info.flag_bits & ENCRYPTED_FLAG) for info in infos),
            "names": [clean(name) for name in names[:NAMES]],
        } | _verified(archive, infos, names)
    if about:
        result["document"] = about.facts
    return Inspection("archive", about.content_type if about else "application/zip", result)


def _verified(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], names: list[str]
) -> dict[str, Any]:
    """Unpack entries within the budget and discard them.

    Counts those whose size or checksum is wrong, and those packed in a way that is not known here,
    of which nothing can be said.
    """
    budget, checked, unknown, damaged = VERIFIED_BYTES, 0, 0, []
    for info, name in zip(infos, names, strict=True):
        if info.flag_bits & ENCRYPTED_FLAG or info.file_size > budget:
            continue
        budget -= info.file_size
        checked += 1
        try:
            with archive.open(info) as entry:
                while entry.read(CHUNK_BYTES):
                    pass
        except NotImplementedError:  # Deflate64, PPMd and others
            budget, checked, unknown = budget + info.file_size, checked - 1, unknown + 1
        except BROKEN:
            damaged.append(clean(name))
    return {
        "checked": checked,
        "unsupported": unknown,
        "damaged": len(damaged),
        "damaged_names": damaged[:NAMES],
    }


def _tar(source: Any, size: int) -> dict[str, Any]:
    """The members of a tar stream."""
    entries = folders = unpacked = links = 0
    names: list[str] = []
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            entries += 1
            if entries > ENTRIES:
                raise TooManyEntries(f"The limit is {ENTRIES} entries.")
            archive.members = []  # type: ignore[attr-defined] # else it keeps every member
            folders += member.isdir()
            links += member.issym() or member.islnk()
            unpacked += member.size if member.isfile() else 0
            refuse_bomb(unpacked, size)
            if len(names) < NAMES:
                names.append(clean(member.name))
    return {
        "entries": entries,
        "folders": folders,
        "links": links,
        "unpacked_size": unpacked,
        "names": names,
    }


def _compressed(content_type: str, data: bytes) -> Inspection:
    """Compressed streams: a tar archive or a single file."""
    format_ = content_type.rpartition("/")[2].removeprefix("x-")
    stream = Stream(data, OPENERS[content_type])
    head = stream.read(tarfile.BLOCKSIZE)
    if is_tar(head):
        stream = Stream(data, OPENERS[content_type])
        result = {"format": f"tar+{format_}"} | _tar(stream, len(data))
        return Inspection("archive", TAR_TYPES[content_type], result)
    while stream.read(CHUNK_BYTES):
        pass
    return Inspection(
        "archive",
        content_type,
        {"format": format_, "entries": 1, "unpacked_size": stream.unpacked},
    )


OPENERS: dict[str, Callable[[], Any]] = {
    "application/gzip": lambda: zlib.decompressobj(wbits=31),
    "application/x-bzip2": bz2.BZ2Decompressor,
    "application/x-xz": lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY),
}


class Stream(io.RawIOBase):
    """The unpacked content of compressed bytes as a file, in flat memory and linear time.

    Streams may follow each other, as `cat a.gz b.gz` makes them. Raises ArchiveBomb,
    TooManyEntries, and EOFError if the bytes are cut off.
    """

    def __init__(self, data: bytes, opener: Callable[[], Any]) -> None:
        self.unpacked = 0
        self.members = 1
        self._data = memoryview(data)
        self._begins = data[:MAGIC_BYTES]
        self._place = 0  # of what was not given to a decompressor yet
        self._opener = opener
        self._decompressor = opener()
        self._piece = FIRST_BYTES
        self._ready = memoryview(b"")
        self._pending = b""  # given, and not yet unpacked

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        wanted = CHUNK_BYTES if size < 0 else size
        parts: list[memoryview] = []
        while wanted > 0:
            if not self._ready:
                self._ready = memoryview(self._more())
                if not self._ready:
                    break
            part, self._ready = self._ready[:wanted], self._ready[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def _more(self) -> bytes:
        while True:
            if self._decompressor.eof and not self._next_stream():
                return b""
            if not self._pending and self._wants_input():
                self._pending = self._take()
            # At the limit of output zlib hands the rest of its input back as `unconsumed_tail`;
            # bz2 and lzma keep it and clear `needs_input`.
            given, self._pending = self._pending, b""
            made: bytes = self._decompressor.decompress(given, CHUNK_BYTES)
            self._pending = getattr(self._decompressor, "unconsumed_tail", b"")
            if made:
                self.unpacked += len(made)
                refuse_bomb(self.unpacked, len(self._data))
                return made

    def _take(self) -> bytes:
        """The next piece of input, each larger than the last.

        What is left of it when a stream ends is copied. Large pieces from the beginning would
        make that the whole cost of small streams.
        """
        taken = bytes(self._data[self._place : self._place + self._piece])
        if not taken:
            raise EOFError("the stream is cut off")
        self._place += len(taken)
        self._piece = min(2 * self._piece, CHUNK_BYTES)
        return taken

    def _wants_input(self) -> bool:
        return bool(getattr(self._decompressor, "needs_input", True))

    def _next_stream(self) -> bool:
        """Go on with the next stream, if one follows; zeros or garbage at the end are padding.

        Zeros may stand between two streams as well: xz pads so, and tapes do.
        """
        self._place -= len(self._decompressor.unused_data) + len(self._pending)
        self._pending = b""
        zeros = _ZEROS.match(self._data, self._place)
        self._place = zeros.end() if zeros else self._place
        if self._data[self._place : self._place + MAGIC_BYTES] != self._begins:
            self._place = len(self._data)
            return False
        self.members += 1
        if self.members > MEMBERS:
            raise TooManyEntries(f"The limit is {MEMBERS} streams.")
        self._decompressor, self._piece = self._opener(), FIRST_BYTES
        return True


def refuse_bomb(unpacked: int, packed: int) -> None:
    """Raises ArchiveBomb for sizes that no honest archive has."""
    if unpacked > BOMB_BYTES and unpacked > packed * BOMB_RATIO:
        raise ArchiveBomb(f"{packed} bytes would unpack to {unpacked} or more.")
