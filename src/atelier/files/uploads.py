"""The form of an upload: read by the mount before Django has the request, else by the view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError, Malformed
from atelier.files import django_setup
from atelier.observe.metrics import UPLOADED
from atelier.wire.complaints import refused
from atelier.wire.multipart import A_FILE, Form, Upload, is_multipart
from atelier.wire.spool import Spool

if TYPE_CHECKING:
    from django.http import HttpRequest

FORM = "atelier.form"  # in the WSGI environment: the upload, or the error that it ended with
FIELD = "file"
MISSING = f"Send the file as multipart/form-data, in the part `{FIELD}`."
MISPLACED = f"The form has a file, but in another part: send it in the part `{FIELD}`."
CHUNK_BYTES = 256 * 1024


class FileForm(Form):
    """A form with nothing but one file.

    A file in another part is not read; the form's end shows whether there is one in the right
    part as well, and the answer depends on that.
    """

    def __init__(self, content_type: str, spool: Spool) -> None:
        super().__init__(content_type, spool, (FIELD,))
        self._misplaced = False

    def misplaced(self, name: str) -> None:
        """Wait for the form's end."""
        self._misplaced = True

    def missing(self) -> AtelierError:
        """The error of a form without a file, by the part that has one."""
        return Malformed(MISPLACED if self._misplaced else MISSING, slug="no-file")

    def text_instead(self, name: str) -> AtelierError:
        """The error of a form with a text in the place of the file."""
        return Malformed(f"{A_FILE}.", slug="no-file")

    def end(self) -> None:
        """Raises Malformed without a file, Invalid with one too many."""
        super().end()
        if self._misplaced:
            raise refused(f"Send the file as `{FIELD}`", "body", FIELD)


def new_spool() -> Spool:
    """An empty spool in the instance's folder."""
    settings = django_setup.context().settings
    return Spool(settings.incoming_folder, settings.body_limit)


@contextmanager
def received(request: HttpRequest) -> Iterator[Upload]:
    """The upload of a request; what was not stored is removed when this ends.

    Raises Unsupported, Malformed, Invalid, TooLarge and Unavailable.
    """
    found: Upload | AtelierError | None = request.META.get(FORM)
    if isinstance(found, AtelierError):
        raise found
    if found is not None:  # the mount removes what stays
        yield _counted(found)
        return
    spool = new_spool()
    try:
        yield _counted(_read(request, spool))
    finally:
        spool.discard()


def _read(request: HttpRequest, spool: Spool) -> Upload:
    content_type = request.META.get("CONTENT_TYPE", "")
    if not (is_multipart(content_type) or has_body(request.META)):
        raise Malformed(MISSING, slug="no-file")
    form = FileForm(content_type, spool)
    while chunk := request.read(CHUNK_BYTES):
        form.feed(chunk)
        if spool.is_full:
            spool.write()
    form.end()
    return form.upload(*spool.finish())


def has_body(environment: Mapping[str, Any]) -> bool:
    """Whether a request has a body, by its head."""
    chunked = "HTTP_TRANSFER_ENCODING" in environment
    return chunked or environment.get("CONTENT_LENGTH", "0") not in ("", "0")


def _counted(upload: Upload) -> Upload:
    UPLOADED.labels("file").inc(upload.file.size)
    return upload
