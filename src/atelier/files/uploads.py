"""Receives an upload as it comes: hashed, counted and looked at on its way to memory or disk, in flat memory."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from atelier.errors import REFUSED, Invalid, TooLarge, Unavailable
from atelier.files import django_setup
from atelier.files.inspectors.detect import HEAD_BYTES
from atelier.http.upload import clean_name, spool_folder
from atelier.observe.metrics import UPLOADED

FIELD = "file"
MEMORY_BYTES = 1024 * 1024  # a file up to this size never touches the disk before it is stored


class Received(UploadedFile):
    """A file that has arrived: in memory, or at a path that is removed when the request ends unless it was stored."""

    def __init__(self, name: str, spool: Spool) -> None:
        super().__init__(None, "upload", "", spool.size)
        self.given_name = clean_name(name)
        self.sha256 = spool.digest.hexdigest()
        self.head = bytes(spool.head)
        self.spooled: bytes | Path = spool.path or b"".join(spool.parts)

    def close(self) -> None:
        """Remove what nobody has taken over."""
        if isinstance(self.spooled, Path):
            self.spooled.unlink(missing_ok=True)


class Spool:
    """Where the bytes go."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.size = 0
        self.head = bytearray()
        self.parts: list[bytes] = []
        self.path: Path | None = None
        self.digest = hashlib.sha256()
        self._folder, self._limit = folder, limit
        self._descriptor = -1

    def add(self, chunk: bytes) -> None:
        """Take the next bytes. Raises TooLarge and Unavailable (disk full)."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise too_large(self._limit)
        self.digest.update(chunk)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self.parts.append(chunk)
        if self.path is not None or self.size > MEMORY_BYTES:
            self._write()

    def finish(self) -> None:
        """No more bytes will come."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        """Give up: remove the file."""
        self.finish()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        try:
            if self.path is None:
                self._folder.mkdir(0o750, parents=True, exist_ok=True)
                self.path = self._folder / f"{secrets.token_hex(16)}.upload"
                self._descriptor = os.open(
                    self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640
                )
            for part in self.parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise Unavailable("The file cannot be stored right now.", retry_after=30) from error
        self.parts.clear()


class SpoolHandler(FileUploadHandler):
    """One file in the part `file`; a second one is refused.

    Of a file in another part only an empty stand-in arrives in `request.FILES`: whether the form
    has a file in the part `file` as well is known at its end, and the view decides by that.
    """

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._limit = django_setup.context().settings.body_limit
        self.file: Spool | None = None  # Django closes it when parsing fails

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803 - as above
        content_length: int,
        boundary: bytes,
        encoding: str | None = None,
    ) -> None:
        """Refuse a body that says itself that it is too large."""
        if content_length > self._limit:
            raise too_large(self._limit)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """A part with a file begins."""
        super().new_file(*args, **kwargs)
        if self.field_name != FIELD:
            return
        if self.file is not None:
            complaint = {"loc": ["body", FIELD], "msg": "Only one file is accepted"}
            raise Invalid(REFUSED, errors=[complaint])
        settings = django_setup.context().settings
        self.file = Spool(spool_folder(settings), self._limit)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Some of its bytes; those of another part are dropped."""
        if self.field_name == FIELD and self.file is not None:
            self.file.add(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile | None:
        """It has come to its end."""
        if self.field_name != FIELD:
            return SimpleUploadedFile("upload", b"")
        if self.file is None:
            return None
        self.file.finish()
        UPLOADED.labels("file").inc(self.file.size)
        return Received(self.file_name, self.file)

    def upload_interrupted(self) -> None:
        """Close the spool: the rest of the upload will not come."""
        if self.file is not None:
            self.file.close()


def too_large(limit: int) -> TooLarge:
    """The refusal of what is larger than the limit."""
    return TooLarge(f"The limit is {limit} bytes.")
