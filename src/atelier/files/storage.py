"""Django's storage over the blob port. Names are blob keys: made here, never by a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from io import SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

from django.core.files.base import File as DjangoFile
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible

from atelier.blobs import check_key
from atelier.errors import NotFound
from atelier.files import django_setup, garbage

PREFIX = "files"
PIECE_BYTES = 256 * 1024  # of a remote blob in memory at a time


@deconstructible
class BlobStorage(Storage):
    """Blobs are written once, under unique keys.

    Save outside a transaction; the row then claims the blob.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: keys are unique."""
        return check_key(name)

    def exists(self, name: str) -> bool:
        """True if there is such a blob."""
        try:
            self.size(name)
        except NotFound:
            return False
        return True

    def size(self, name: str) -> int:
        """Size in bytes. Raises NotFound."""
        here = django_setup.context()
        return here.run(here.blobs.stat(name)).size

    def get_modified_time(self, name: str) -> datetime:
        """Time of writing. Raises NotFound."""
        here = django_setup.context()
        return here.run(here.blobs.stat(name)).modified

    def path(self, name: str) -> str:
        """The blob's path, if it is on this machine."""
        found = django_setup.context().blobs.path(name)
        if found is None:
            raise NotImplementedError("the blobs are not on this machine")
        return str(found)

    def delete(self, name: str) -> None:
        """Remove one blob; a missing one is no error."""
        self.delete_all([name])

    def delete_all(self, names: Iterable[str]) -> None:
        """Remove blobs; missing ones are no error."""
        here = django_setup.context()
        here.run(here.blobs.delete(list(names)))

    def _open(self, name: str, mode: str = "rb") -> DjangoFile:
        here = django_setup.context()
        found = here.blobs.path(name)
        if found is None:
            self.size(name)  # a missing blob fails here, not in the middle of a response
            return DjangoFile(BufferedReader(RemoteFile(name), PIECE_BYTES), name)
        try:
            return DjangoFile(found.open("rb"), name)
        except FileNotFoundError as error:
            raise NotFound("The content is gone.") from error

    def put(self, name: str, source: bytes | Path) -> None:
        """Store bytes, or take over a file of this machine."""
        here = django_setup.context()
        garbage.intend([name])
        here.run(here.blobs.put(name, source))

    def _save(self, name: str, content: Any) -> str:
        self.put(name, content.read())
        return name


class RemoteFile(RawIOBase):
    """A remote blob, read as it arrives.

    Memory holds one piece, and the disk nothing.
    """

    def __init__(self, name: str) -> None:
        self._name, self._position = name, 0
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true: a seek begins another stream."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move; the stream restarts there on the next read."""
        origin = 0 if whence == SEEK_SET else self._position
        if whence == SEEK_END:
            here = django_setup.context()
            origin = here.run(here.blobs.stat(self._name)).size
        if origin + offset != self._position:
            self._end()
            self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes, as many as have arrived."""
        if not self._piece:
            self._piece = memoryview(django_setup.context().run(self._next()))
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self._position += count
        return count

    def close(self) -> None:
        """End the stream of the blob."""
        self._end()
        super().close()

    async def _next(self) -> bytes:
        if self._pieces is None:
            self._pieces = django_setup.context().blobs.stream(self._name, self._position)
        return await anext(self._pieces, b"")

    def _end(self) -> None:
        pieces, self._pieces, self._piece = self._pieces, None, memoryview(b"")
        if pieces is not None:
            django_setup.context().run(pieces.aclose())
