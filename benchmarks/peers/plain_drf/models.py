"""The model of seed 004, and what a list needs."""

from __future__ import annotations

from django.db import models


class File(models.Model):
    """One uploaded file."""

    file = models.FileField(upload_to="uploads/%Y/%m/%d")
    owner_id = models.BigIntegerField(db_index=True)
    uploaded_at = models.DateTimeField(auto_now_add=True)
    processed = models.BooleanField(default=False)
    result = models.JSONField(null=True)

    class Meta:
        """A name of its own, beside the tables of Atelier."""

        app_label = "plain_drf"
        db_table = "peer_files"
        ordering = ("-id",)

    def __str__(self) -> str:
        return str(self.file)
