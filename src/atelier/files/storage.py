"""Django's storage over the blob port. Names are blob keys: made here, never by a client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.files.base import ContentFile
from django.core.files.base import File as DjangoFile
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible

from atelier.adapters.blobs import check_key, new_key
from atelier.errors import NotFound
from atelier.files import garbage, house

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

PREFIX = "files"


def original_key() -> str:
    """A new key for an upload."""
    return new_key(PREFIX, "original")


def thumbnail_key(extension: str) -> str:
    """A new key for a thumbnail."""
    return new_key(PREFIX, f"thumbnail.{extension}")


@deconstructible
class BlobStorage(Storage):
    """Written once, under keys that nobody else has. Save outside a transaction; the row then claims the blob."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002 - Django's signature
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
        here = house.here()
        return here.portal.run(here.blobs.stat(name)).size

    def get_modified_time(self, name: str) -> datetime:
        """When it was written. Raises NotFound."""
        here = house.here()
        return here.portal.run(here.blobs.stat(name)).modified

    def path(self, name: str) -> str:
        """Where it lies on this machine."""
        found = house.here().blobs.path(name)
        if found is None:
            raise NotImplementedError("the blobs are not on this machine")
        return str(found)

    def delete(self, name: str) -> None:
        """Remove one blob."""
        self.delete_all([name])

    def delete_all(self, names: Iterable[str]) -> None:
        """Remove blobs; missing ones are no error."""
        here = house.here()
        here.portal.run(here.blobs.delete(list(names)))

    def _open(self, name: str, mode: str = "rb") -> DjangoFile:  # noqa: ARG002 - Django's signature
        here = house.here()
        found = here.blobs.path(name)
        if found is None:
            return ContentFile(here.portal.run(here.blobs.get(name)), name)
        try:
            return DjangoFile(found.open("rb"), name)
        except FileNotFoundError as error:
            raise NotFound("the content is gone") from error

    def _save(self, name: str, content: Any) -> str:  # noqa: ANN401 - any of Django's files
        here = house.here()
        garbage.intend([name])
        spooled = getattr(content, "spooled", None)
        source = spooled if isinstance(spooled, bytes | Path) else content.read()
        here.portal.run(here.blobs.put(name, source))
        return name
