"""The JSON of a file, and the form of an upload."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from rest_framework import serializers

from atelier.files.models import File
from atelier.http.moving import MOST
from atelier.wire.spaces import MAX_ID

ROOT = "/api/files/"


class FileFailureSerializer(serializers.Serializer):
    """Why a file could not be processed."""

    reason = serializers.CharField()
    detail = serializers.CharField()


class FileSerializer(serializers.ModelSerializer):
    """A file as seen by the members of its space."""

    # The fields are for OpenAPI: walking them costs four times the plain record that
    # `to_representation` makes.
    space_id = serializers.IntegerField(source="owner_id")
    created_by = serializers.IntegerField(
        allow_null=True, help_text="Who uploaded it; null: somebody who has left."
    )
    file = serializers.CharField(help_text="Where the content is.")
    thumbnail = serializers.CharField(
        allow_null=True, help_text="Where a small picture of an image is."
    )
    result = serializers.DictField(
        allow_null=True, help_text="What was found; its members depend on the kind."
    )
    error = FileFailureSerializer(allow_null=True)
    url = serializers.CharField()

    class Meta:
        """The public fields, in order."""

        model = File
        fields = (
            "id",
            "space_id",
            "created_by",
            "file",
            "name",
            "content_type",
            "kind",
            "size",
            "sha256",
            "uploaded_at",
            "processed",
            "status",
            "result",
            "error",
            "thumbnail",
            "url",
        )
        read_only_fields = fields

    def to_representation(self, file: File) -> dict[str, Any]:
        """The record of a file as it is answered."""
        url = f"{ROOT}{file.pk}/"
        return {
            "id": file.pk,
            "space_id": file.owner_id,
            "created_by": file.maker,
            "file": f"{url}content",
            "name": file.name,
            "content_type": file.content_type,
            "kind": file.kind,
            "size": file.size,
            "sha256": file.sha256,
            "uploaded_at": file.uploaded_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "processed": file.processed,
            "status": file.status,
            "result": file.result,
            "error": file.error,
            "thumbnail": f"{url}thumbnail" if file.thumbnail else None,
            "url": url,
        }

    @property
    def data(self) -> dict[str, Any]:
        """The record itself: DRF would wrap it for forms, and ask each field to do so."""
        return self.to_representation(self.instance)


class UploadSerializer(serializers.Serializer):
    """The multipart body of an upload."""

    file = serializers.FileField(help_text="The file, of any kind.")


class FileMovingSerializer(serializers.Serializer):
    """The JSON body of a move; `http.moving` judges it."""

    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID),
        min_length=1,
        max_length=MOST,
        help_text="All of them are moved, or none.",
    )
    space_id = serializers.IntegerField(
        min_value=1, max_value=MAX_ID, help_text="The space that they are to be in."
    )


class FileMovedSerializer(serializers.Serializer):
    """The answer to a move."""

    moved = serializers.IntegerField(
        help_text="How many were moved; those that were there already are not counted."
    )
