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

PREFIX = "files"  # of every key of this slice
PIECE_BYTES = 256 * 1024  # of a blob elsewhere in memory at a time


@deconstructible
class BlobStorage(Storage):
    """Written once, under keys that nobody else has.

    Save outside a transaction; the row then claims the blob.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself."""
        return check_key(name)

    def exists(self, name: str) -> bool:
        """Whether there is such a blob."""
        try:
            self.size(name)
        except NotFound:
            return False
        return True

    def size(self, name: str) -> int:
        """Bytes. Raises NotFound."""
        here = django_setup.context()
        return here.run(here.blobs.stat(name)).size

    def get_modified_time(self, name: str) -> datetime:
        """When it was written. Raises NotFound."""
        here = django_setup.context()
        return here.run(here.blobs.stat(name)).modified

    def path(self, name: str) -> str:
        """Where it lies on this machine."""
        found = django_setup.context().blobs.path(name)
        if found is None:
            raise NotImplementedError("the blobs are not on this machine")
        return str(found)

    def delete(self, name: str) -> None:
        """Remove one blob."""
        self.delete_all([name])

    def delete_all(self, names: Iterable[str]) -> None:
        """Remove blobs; missing ones are no error."""
        here = django_setup.context()
        here.run(here.blobs.delete(list(names)))

    def _open(self, name: str, mode: str = "rb") -> DjangoFile:
        here = django_setup.context()
        found = here.blobs.path(name)
        if found is None:
            self.size(name)  # missing blobs are missed here, not in the middle of an answer
            return DjangoFile(BufferedReader(RemoteFile(name), PIECE_BYTES), name)
        try:
            return DjangoFile(found.open("rb"), name)
        except FileNotFoundError as error:
            raise NotFound("The content is gone.") from error

    def _save(self, name: str, content: Any) -> str:
        here = django_setup.context()
        garbage.intend([name])
        spooled = getattr(content, "spooled", None)
        source = spooled if isinstance(spooled, bytes | Path) else content.read()
        here.run(here.blobs.put(name, source))
        return name


class RemoteFile(RawIOBase):
    """A blob that is not on this machine, read as it comes: memory holds one piece, no disk holds anything."""

    def __init__(self, name: str) -> None:
        self._name, self._position = name, 0
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes: elsewhere in the blob another stream begins."""
        return True

    def tell(self) -> int:
        """Where the next byte is from."""
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Read on from there."""
        origin = 0 if whence == SEEK_SET else self._position
        if whence == SEEK_END:
            here = django_setup.context()
            origin = here.run(here.blobs.stat(self._name)).size
        if origin + offset != self._position:
            self._end()
            self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """The next bytes, as many as have come."""
        if not self._piece:
            self._piece = memoryview(django_setup.context().run(self._next()))
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self._position += count
        return count

    def close(self) -> None:
        """End the stream."""
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
