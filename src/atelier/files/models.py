"""The table `files`, and the outbox, which this slice writes but does not own."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from atelier.observe import requester, tracing
from atelier.wire.spaces import shown_maker

# Of a file of before there were spaces, each of which is in the space of a person.
PERSONAL = models.Case(
    models.When(
        created_by=None,
        then=models.Func(
            models.F("owner_id"),
            template="(SELECT user_id FROM spaces WHERE spaces.id = %(expressions)s)",
            output_field=models.BigIntegerField(),
        ),
    )
)


class Status(models.TextChoices):
    """The state of a file's processing."""

    QUEUED = "queued"
    PROCESSED = "processed"
    FAILED = "failed"


class Kind(models.TextChoices):
    """The kind of a file, judged by its content."""

    IMAGE = "image"
    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    PDF = "pdf"
    ARCHIVE = "archive"
    OTHER = "other"


class Files(models.Manager["File"]):
    """The rows of files."""

    def shown(self) -> models.QuerySet[File]:
        """Rows with what a record needs of other tables."""
        return self.annotate(personal=PERSONAL)


class File(models.Model):
    """One uploaded file. `version` fences processing; `sequence` counts the file's events.

    `owner_id` refers to a table of Alembic's: the migration makes it a foreign key, Django does
    not follow it.
    """

    owner_id = models.BigIntegerField()  # the space
    created_by = models.BigIntegerField(
        null=True
    )  # None: of the space's person, if it has one; 0: left
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
    taken_at = models.DateTimeField(null=True)  # by a worker, until it lets go of the file

    objects = Files()
    personal: int | None = None  # whose the space is, of rows that do not say who made them

    class Meta:
        """Constraints and indexes are named as Alembic names them."""

        db_table = "files"
        indexes = (
            models.Index("owner_id", models.F("id").desc(), name="ix_files_owner_id_id"),
            # The reconciler reads only rows that are not final; this index holds only those.
            models.Index(
                "offered_at", name="ix_files_offered_at", condition=models.Q(status="queued")
            ),
            # As do the workers, which look whose turn it is.
            models.Index(
                "owner_id",
                "offered_at",
                name="ix_files_owner_id_offered_at",
                condition=models.Q(status="queued"),
            ),
            # Of the files in teams' spaces alone, for those who leave.
            models.Index(
                fields=("created_by",),
                name="ix_files_created_by",
                condition=models.Q(created_by__lt=models.F("owner_id"))
                | models.Q(created_by__gt=models.F("owner_id")),
            ),
            models.Index(
                "taken_at",
                name="ix_files_taken_at",
                condition=models.Q(status="queued", taken_at__isnull=False),
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
    def maker(self) -> int | None:
        """Who uploaded it; None: somebody who has left."""
        return self.personal if self.created_by is None else shown_maker(self.created_by)

    @property
    def etag(self) -> str:
        """The record's entity tag, without its quotes."""
        return f"{self.version}.{self.sequence}"

    @property
    def keys(self) -> list[str]:
        """The keys of its blobs."""
        return [str(self.file.name), *([self.thumbnail] if self.thumbnail else [])]


class Outbox(models.Model):
    """An outgoing event. Alembic owns the table; this slice only adds rows."""

    event_id = models.UUIDField(default=uuid.uuid4)
    type = models.TextField()
    subject = models.TextField()
    sequence = models.IntegerField()
    time = models.DateTimeField(default=timezone.now)
    data = models.JSONField()
    traceparent = models.TextField(null=True, default=tracing.traceparent)  # noqa: DJ001 - the column as Alembic has it
    actor = models.TextField(null=True, default=requester.actor)  # noqa: DJ001 - as Alembic has it
    space_id = models.BigIntegerField(null=True)

    class Meta:
        """Alembic owns the table."""

        managed = False
        db_table = "outbox"

    def __str__(self) -> str:
        return f"{self.type} {self.subject} #{self.sequence}"
