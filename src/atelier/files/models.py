"""The table `files`, and the one table of others that this slice writes to: the outbox."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from atelier.observe import tracing


class Status(models.TextChoices):
    """Where the processing of a file stands."""

    QUEUED = "queued"
    PROCESSED = "processed"
    FAILED = "failed"


class Kind(models.TextChoices):
    """What a file is, judged by its content."""

    IMAGE = "image"
    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    PDF = "pdf"
    ARCHIVE = "archive"
    OTHER = "other"


class File(models.Model):
    """One uploaded file. `version` fences processing; `sequence` counts the file's events.

    `owner_id` refers to a table of another owner: the migration makes it a foreign key, Django
    does not follow it.
    """

    owner_id = models.BigIntegerField()
    file = models.FileField(max_length=255, unique=True)
    thumbnail = models.TextField(null=True)  # noqa: DJ001 - NULL: there is no blob
    name = models.TextField()
    content_type = models.TextField()
    kind = models.TextField(choices=Kind.choices)
    size = models.BigIntegerField()
    sha256 = models.TextField()
    processed = models.BooleanField(default=False)
    status = models.TextField(choices=Status.choices, default=Status.QUEUED)
    result = models.JSONField(null=True)
    error = models.JSONField(null=True)
    version = models.IntegerField(default=1)
    sequence = models.IntegerField(default=1)
    attempts = models.IntegerField(default=0)
    uploaded_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    offered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """Constraints and indexes are named as Alembic names them."""

        db_table = "files"
        indexes = (
            models.Index("owner_id", models.F("id").desc(), name="ix_files_owner_id_id"),
            # The reconciler looks only at rows that are not final; this index holds only those.
            models.Index(
                "offered_at", name="ix_files_offered_at", condition=models.Q(status="queued")
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=tuple(Status.values)), name="ck_files_status"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=tuple(Kind.values)), name="ck_files_kind"
            ),
            models.CheckConstraint(
                condition=models.Q(processed=models.Q(status="processed")),
                name="ck_files_processed",
            ),
        )

    def __str__(self) -> str:
        return f"file {self.pk}"

    @property
    def etag(self) -> str:
        """The record's strong entity tag, quotes included."""
        return f'"{self.version}.{self.sequence}"'

    @property
    def keys(self) -> list[str]:
        """The keys of its blobs."""
        return [str(self.file.name), *([self.thumbnail] if self.thumbnail else [])]


class Outbox(models.Model):
    """An event on its way out. Alembic owns the table; from here rows are only added."""

    event_id = models.UUIDField(default=uuid.uuid4)
    type = models.TextField()
    subject = models.TextField()
    sequence = models.IntegerField()
    time = models.DateTimeField(default=timezone.now)
    data = models.JSONField()
    traceparent = models.TextField(null=True, default=tracing.traceparent)  # noqa: DJ001 - the column as Alembic has it

    class Meta:
        """The table is made and changed by Alembic."""

        managed = False
        db_table = "outbox"

    def __str__(self) -> str:
        return f"{self.type} {self.subject} #{self.sequence}"
