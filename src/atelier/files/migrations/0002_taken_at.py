"""When a worker took a file: whose files are at work, and whose wait."""

from __future__ import annotations

from django.db import migrations, models

QUEUED = models.Q(status="queued")


class Migration(migrations.Migration):
    """A column without a value, and indexes of the few rows that are not final."""

    dependencies = (("files", "0001_initial"),)
    operations = (
        migrations.AddField("file", "taken_at", models.DateTimeField(null=True)),
        migrations.AddIndex(
            "file",
            models.Index(
                "owner_id", "offered_at", name="ix_files_owner_id_offered_at", condition=QUEUED
            ),
        ),
        migrations.AddIndex(
            "file",
            models.Index(
                "taken_at",
                name="ix_files_taken_at",
                condition=models.Q(status="queued", taken_at__isnull=False),
            ),
        ),
    )
