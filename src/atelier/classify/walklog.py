"""The walk log: every picture found, in the order found, numbered by its place.

It is append-only and may be cut at any byte. A frame is a header, its sections (a folder, when it
was listed, the folders in it) and its names, both compressed. A name costs 3 to 8 bytes. Only the
last frame can be torn, and a torn frame is cut off.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from atelier.classify.append import append
from atelier.errors import AtelierError

_HEADER = struct.Struct("<4sIIIQI")
_CRC = struct.Struct("<I")
_MAGIC = b"AWL1"
_LEVEL = 1  # of zlib: higher levels save a tenth for three times the time

FRAME_NAMES = 4096
"""Names and folders in one frame: some 100 KB of memory, and one fsync for all of them."""

TORN_MOST = 64 * 1024 * 1024
"""Most bytes that a crash can leave torn; more is damage, and cutting it off would lose files."""


class WalkLogError(AtelierError):
    """The walk log is damaged; start again with --restart."""

    slug = "walk-log"


class Section(msgspec.Struct, array_like=True):
    """One folder's part of a frame: how many of the frame's `names`, and the `folders` in it.

    `mtime_ns` is set in the last section of a listing, and 0 if the folder may have changed since
    without a new time; `left_out` there counts the folders in it that were not entered.
    """

    folder: bytes
    fresh: bool
    complete: bool = False
    mtime_ns: int = 0
    names: int = 0
    folders: list[bytes] = []
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's place and sizes; its names are read on demand."""

    offset: int
    first: int
    count: int
    meta: int
    names: int

    @property
    def end(self) -> int:
        """The offset of the next frame."""
        return self.offset + _HEADER.size + _CRC.size + self.meta + self.names


_sections = msgspec.msgpack.Decoder(list[Section])


class WalkLog:
    """Reads a walk log; a writer may append to it meanwhile."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def close(self) -> None:
        """Close the file of the log."""
        os.close(self._descriptor)

    def frame(self, offset: int) -> Frame | None:
        """The frame at an offset, unless the log ends there or in the middle of it."""
        head = os.pread(self._descriptor, _HEADER.size + _CRC.size, offset)
        if len(head) < _HEADER.size + _CRC.size:
            return None
        (crc,) = _CRC.unpack_from(head, _HEADER.size)
        magic, _, meta, names, first, count = _HEADER.unpack_from(head)
        if magic != _MAGIC or crc != zlib.crc32(head[: _HEADER.size]):
            return None
        return Frame(offset, first, count, meta, names)

    def frames(self, offset: int = 0) -> Iterator[Frame]:
        """All frames from an offset to the present end."""
        while frame := self.frame(offset):
            yield frame
            offset = frame.end

    def intact(self, frame: Frame) -> bool:
        """True if a frame is complete and undamaged."""
        head = os.pread(self._descriptor, _HEADER.size, frame.offset)
        body = self._read(frame, 0, frame.meta + frame.names)
        return (
            len(body) == frame.meta + frame.names and zlib.crc32(body) == _HEADER.unpack(head)[1]
        )

    def sections(self, frame: Frame) -> list[Section]:
        """The sections of a frame."""
        return _sections.decode(zlib.decompress(self._read(frame, 0, frame.meta)))

    def names(self, frame: Frame) -> list[bytes]:
        """The names in a frame, without their folders."""
        if not frame.count:
            return []
        return zlib.decompress(self._read(frame, frame.meta, frame.names)).split(b"\0")

    def paths(self, frame: Frame) -> Iterator[bytes]:
        """The pictures of a frame, relative to the walked directory."""
        names = iter(self.names(frame))
        for section in self.sections(frame):
            prefix = section.folder + b"/" if section.folder else b""
            for _ in range(section.names):
                yield prefix + next(names)

    def _read(self, frame: Frame, skip: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, frame.offset + _HEADER.size + _CRC.size + skip)


class WalkWriter:
    """Appends to a walk log; cuts off first whatever a killed writer left torn."""

    def __init__(self, path: Path) -> None:
        self.log = WalkLog(path)
        self.count = 0
        end = 0
        for frame in self.log.frames():
            if not self.log.intact(frame):
                break
            self.count, end = frame.first + frame.count, frame.end
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._cut(end)
        self._first = self.count
        self._names: list[bytes] = []
        self._sections: list[Section] = []
        self._held = 0

    def _cut(self, end: int) -> None:
        size = os.fstat(self._descriptor).st_size
        if size - end > TORN_MOST:
            raise WalkLogError(f"it is readable up to byte {end} of {size}")
        os.ftruncate(self._descriptor, end)

    def name(self, folder: bytes, name: bytes, *, fresh: bool) -> None:
        """Add a picture to the section of its folder."""
        self._section(folder, fresh=fresh).names += 1
        self._names.append(name)
        self.count += 1
        self._grow()

    def folder(self, folder: bytes, name: bytes, *, fresh: bool) -> None:
        """Add a folder that lies in `folder`."""
        self._section(folder, fresh=fresh).folders.append(name)
        self._grow()

    def complete(self, folder: bytes, mtime_ns: int, *, fresh: bool, left_out: int = 0) -> None:
        """Close a folder's listing: its time before the listing, and the folders not entered."""
        section = self._section(folder, fresh=fresh)
        section.complete, section.mtime_ns, section.left_out = True, mtime_ns, left_out
        self._grow()

    def flush(self) -> bool:
        """Write the names held as one frame; false if there were none."""
        if not self._held:
            return False
        meta = zlib.compress(msgspec.msgpack.encode(self._sections), _LEVEL)
        names = zlib.compress(b"\0".join(self._names), _LEVEL) if self._names else b""
        head = _HEADER.pack(
            _MAGIC,
            zlib.crc32(names, zlib.crc32(meta)),
            len(meta),
            len(names),
            self._first,
            len(self._names),
        )
        for seconds in append(self._descriptor, head + _CRC.pack(zlib.crc32(head)) + meta + names):
            time.sleep(seconds)
        self._first, self._names, self._sections, self._held = self.count, [], [], 0
        return True

    def sync(self) -> None:
        """Write the names held and make everything durable."""
        self.flush()
        os.fdatasync(self._descriptor)

    @property
    def held(self) -> int:
        """Names and folders not yet written."""
        return self._held

    def _section(self, folder: bytes, *, fresh: bool) -> Section:
        # One section per folder and frame, unless the folder was completed and is listed again.
        if self._sections:
            last = self._sections[-1]
            if last.folder == folder and last.fresh == fresh and not last.complete:
                return last
        self._sections.append(Section(folder, fresh, folders=[]))
        return self._sections[-1]

    def _grow(self) -> None:
        self._held += 1
        if self._held >= FRAME_NAMES:
            self.flush()
