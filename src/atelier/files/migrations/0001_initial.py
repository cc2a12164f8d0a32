"""The table of files. Its owner is a row of `users`, a table of Alembic's."""

from __future__ import annotations

import uuid

from django.db import migrations, models
from django.utils import timezone

KINDS = ("image", "text", "csv", "json", "pdf", "archive", "other")
STATUSES = ("queued", "processed", "failed")


class Migration(migrations.Migration):
    """The table `files`, and the outbox as an unmanaged model."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Outbox",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.UUIDField(default=uuid.uuid4)),
                ("type", models.TextField()),
                ("subject", models.TextField()),
                ("sequence", models.IntegerField()),
                ("time", models.DateTimeField(default=timezone.now)),
                ("data", models.JSONField()),
            ],
            options={"db_table": "outbox", "managed": False},
        ),
        migrations.CreateModel(
            name="File",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("owner_id", models.BigIntegerField()),
                ("file", models.FileField(max_length=255, unique=True, upload_to="")),
                ("thumbnail", models.TextField(null=True)),
                ("name", models.TextField()),
                ("content_type", models.TextField()),
                ("kind", models.TextField(choices=[(kind, kind.capitalize()) for kind in KINDS])),
                ("size", models.BigIntegerField()),
                ("sha256", models.TextField()),
                ("processed", models.BooleanField(default=False)),
                (
                    "status",
                    models.TextField(
                        choices=[(name, name.capitalize()) for name in STATUSES], default="queued"
                    ),
                ),
                ("result", models.JSONField(null=True)),
                ("error", models.JSONField(null=True)),
                ("version", models.IntegerField(default=1)),
                ("sequence", models.IntegerField(default=1)),
                ("attempts", models.IntegerField(default=0)),
                ("uploaded_at", models.DateTimeField(default=timezone.now)),
                ("updated_at", models.DateTimeField(default=timezone.now)),
                ("offered_at", models.DateTimeField(default=timezone.now)),
            ],
            options={
                "db_table": "files",
                "indexes": [
                    models.Index("owner_id", models.F("id").desc(), name="ix_files_owner_id_id"),
                    models.Index(
                        "offered_at",
                        name="ix_files_offered_at",
                        condition=models.Q(status="queued"),
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(status__in=STATUSES), name="ck_files_status"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(kind__in=KINDS), name="ck_files_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(processed=models.Q(status="processed")),
                        name="ck_files_processed",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE files ADD CONSTRAINT fk_files_owner_id_users FOREIGN KEY (owner_id) "
            "REFERENCES users (id)",
            "ALTER TABLE files DROP CONSTRAINT fk_files_owner_id_users",
        ),
    )
