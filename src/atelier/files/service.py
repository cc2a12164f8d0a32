"""The use cases of files, one transaction each: create, retry, delete; finish, fail.

Knows no HTTP and no broker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, IntegrityError, InterfaceError, connection, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from atelier.auth import Principal, Right, require
from atelier.blobs import new_key
from atelier.errors import AtelierError, Conflict, NotFound, PreconditionFailed, Unauthenticated
from atelier.files import allowance, django_setup, events, garbage
from atelier.files.inspectors import Inspection
from atelier.files.inspectors.detect import HEAD_BYTES, detect
from atelier.files.inspectors.media_types import served
from atelier.files.models import PERSONAL, File, Status
from atelier.files.statements import KEEP
from atelier.files.storage import PREFIX
from atelier.observe import requester
from atelier.wire.spaces import GONE, gone

if TYPE_CHECKING:
    from pathlib import Path

    from atelier.wire.multipart import Spooled

MISSING = "There is no such file."  # to strangers, too
log = logging.getLogger(__name__)


def store(space_id: int, created_by: int, upload: Spooled) -> File:
    """Put an upload on disk, listed as garbage until `create` makes its row; that row.

    Must not run within a transaction. Raises Forbidden if it is over the space's quota.
    """
    allowance.require_room(space_id, upload.size)
    head = _head(upload.content)
    found = detect(head, whole=len(head) == upload.size)
    key = new_key(PREFIX, "original")
    default_storage.put(key, upload.content)  # this takes a spooled file over
    return File(
        owner_id=space_id,
        created_by=created_by,
        file=key,
        name=upload.name,
        content_type=found.content_type,
        kind=found.kind,
        size=upload.size,
        sha256=upload.sha256,
        offered_at=Now(),
    )


def create(file: File) -> None:
    """Make the row of a stored upload, and its event, in the caller's transaction.

    Raises Forbidden if it is over the space's quota, and Unauthenticated or NotFound if the
    account or the space has gone.
    """
    try:
        file.save(force_insert=True)
    except IntegrityError as error:
        if file.owner_id == file.created_by:
            raise Unauthenticated("The account is gone.") from error
        raise gone() from error
    events.announce(file, events.UPLOADED)
    garbage.claim([file.file.name])
    allowance.confirm(file.owner_id, file.size)


def _head(content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return content[:HEAD_BYTES]
    with content.open("rb") as file:
        return file.read(HEAD_BYTES)


def find(principal: Principal, file_id: int) -> File:
    """A file that the principal may see.

    Raises NotFound for a stranger's as for one that does not exist, and NotAllowed.
    """
    file: File | None = File.objects.shown().filter(pk=file_id).first()
    if file is None:
        raise NotFound(MISSING)
    require(principal, file.owner_id, Right.FILES_READ, MISSING)
    return file


def retry(principal: Principal, file_id: int, expected: Callable[[str], bool]) -> File:
    """Queue a failed file again. Raises Conflict for one that has not failed."""
    with transaction.atomic():
        file = _locked(principal, file_id, expected)
        if file.status != Status.FAILED:
            raise Conflict(
                f"This file is {file.status}; only a failed one can be retried.", slug="not-failed"
            )
        file.status, file.error, file.attempts, file.version = (
            Status.QUEUED,
            None,
            0,
            file.version + 1,
        )
        file.updated_at, file.offered_at, file.taken_at = timezone.now(), Now(), None
        file.save()
    return file


def delete(principal: Principal, file_id: int, expected: Callable[[str], bool]) -> None:
    """Delete a file: row, event, and unless the trash keeps them, blobs.

    A kill at any point leaves nothing that is not collected later.
    """
    with transaction.atomic():
        file = _locked(principal, file_id, expected)
        file.sequence += 1
        events.announce(file, events.DELETED)
        if django_setup.context().settings.trash_days > 0:
            _put_into_trash(file_id)
            return
        garbage.discard(file.keys)
        keys = file.keys
        file.delete()
    try:
        if garbage.may_remove():
            default_storage.delete_all(keys)
    except (AtelierError, OSError, DatabaseError, InterfaceError):
        log.warning("blobs of a deleted file are left to the collector", exc_info=True)


def _put_into_trash(file_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [file_id, requester.actor()])


def move(principal: Principal, file_ids: Sequence[int], space_id: int) -> int:
    """Move files to a space in which the principal may write: all that are named, or none.

    Returns how many were elsewhere. Raises NotFound for one that the principal does not see,
    NotAllowed, and Forbidden if they are over the space's quota.
    """
    allowance.begin(space_id)
    with transaction.atomic():
        held = _held(principal, set(file_ids), space_id)
        files = [file for file in held if file.owner_id != space_id]
        if files:
            allowance.take_turn({space_id, *(file.owner_id for file in files)})
            _move(files, space_id)
            allowance.confirm(space_id, sum(file.size for file in files), len(files))
    return len(files)


def _held(principal: Principal, file_ids: set[int], space_id: int) -> list[File]:
    """The rows, locked, and the spaces that they are in and go to, held."""
    found = File.objects.filter(pk__in=file_ids)
    sources = set(found.values_list("owner_id", flat=True).distinct())
    held = allowance.hold((sources & set(principal.roles)) | {space_id})
    if space_id not in held:
        raise gone()
    # Not against the counting of a quota, which waits for the spaces that are held.
    rows = File.objects.shown().select_for_update(no_key=True).order_by("pk")
    files = list(rows.filter(pk__in=file_ids, owner_id__in=list(principal.roles)))
    if len(files) < len(file_ids):
        raise NotFound(MISSING)
    owners = {file.owner_id for file in files}
    for owner_id in owners:
        require(principal, owner_id, Right.FILES_WRITE, MISSING)
    if late := owners - held:  # another move came between the two looks
        allowance.hold(late)
    return files


def _move(files: list[File], space_id: int) -> None:
    """Move locked files; what they tell of their makers by their space alone is written down."""
    spaces = {file.pk: file.owner_id for file in files}
    File.objects.filter(pk__in=list(spaces)).update(
        owner_id=space_id,
        sequence=F("sequence") + 1,
        created_by=Coalesce("created_by", PERSONAL, Value(GONE)),
    )
    for file in files:
        file.created_by = file.maker or GONE
        file.owner_id, file.sequence = space_id, file.sequence + 1
    events.announce_all(files, events.MOVED, from_space_id=spaces)


def _own(principal: Principal) -> QuerySet[File]:
    """The rows of the principal's spaces, to be locked; strangers lock nothing."""
    rows = File.objects.shown().select_for_update()
    return rows.filter(owner_id__in=list(principal.roles))


def _locked(principal: Principal, file_id: int, expected: Callable[[str], bool]) -> File:
    file: File | None = _own(principal).filter(pk=file_id).first()
    if file is None:
        raise NotFound(MISSING)
    require(principal, file.owner_id, Right.FILES_WRITE, MISSING)
    if not expected(file.etag):
        raise PreconditionFailed("The file has changed since this entity tag.")
    return file


def put_back(file_id: int, version: int) -> None:
    """Let go of a file that is to be taken again; it was offered now."""
    waiting = File.objects.filter(pk=file_id, version=version, status=Status.QUEUED)
    waiting.update(taken_at=None, offered_at=Now())


def finish(file_id: int, version: int, found: Inspection) -> bool:
    """Commit a result, at most once; false if the row is gone or has another version."""
    # The blob is listed as garbage until the claim: if the result is stale, it is collected.
    key = None
    if found.thumbnail:
        key = str(
            default_storage.save(
                new_key(PREFIX, f"thumbnail.{found.thumbnail.extension}"),
                ContentFile(found.thumbnail.data),
            )
        )
    with transaction.atomic():
        file = _fenced(file_id, version)
        if file is None:
            return False
        file.kind, file.content_type, file.result = (
            found.kind,
            served(found.content_type),
            found.result,
        )
        file.thumbnail, file.status, file.processed, file.error = key, Status.PROCESSED, True, None
        garbage.claim([key] if key else [])
        _settle(file, events.PROCESSED)
    return True


def fail(file_id: int, version: int, reason: str, detail: str) -> bool:
    """Commit a failure and its reason; false if the row is gone or has another version."""
    with transaction.atomic():
        file = _fenced(file_id, version)
        if file is None:
            return False
        file.status, file.error = Status.FAILED, {"reason": reason, "detail": detail}
        _settle(file, events.FAILED)
    return True


def _fenced(file_id: int, version: int) -> File | None:
    file: File | None = (
        File.objects.shown()
        .select_for_update()
        .filter(pk=file_id, version=version, status=Status.QUEUED)
        .first()
    )
    return file


def _settle(file: File, type_: str) -> None:
    file.sequence += 1
    file.updated_at = timezone.now()
    file.save()
    events.announce(file, type_)


def failure(error: AtelierError) -> tuple[str, str]:
    """The reason and detail of an error, for the file's owner."""
    return error.slug, error.detail or error.title
