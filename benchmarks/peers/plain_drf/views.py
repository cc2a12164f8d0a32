"""Upload and list."""

from __future__ import annotations

from django.db.models import QuerySet
from rest_framework import generics, serializers

from benchmarks.peers.plain_drf.celery import process_file
from benchmarks.peers.plain_drf.models import File


class FileSerializer(serializers.ModelSerializer):
    """A file."""

    class Meta:
        """All but the owner."""

        model = File
        fields = ("id", "file", "uploaded_at", "processed", "result")
        read_only_fields = ("uploaded_at", "processed", "result")


class Upload(generics.CreateAPIView):
    """`POST /upload/`."""

    serializer_class = FileSerializer

    def perform_create(self, serializer: FileSerializer) -> None:
        """Save it, then send the job."""
        file = serializer.save(owner_id=self.request.user)
        process_file.delay(file.pk)


class Files(generics.ListAPIView):
    """`GET /files/`."""

    serializer_class = FileSerializer

    def get_queryset(self) -> QuerySet[File]:
        """One's own."""
        return File.objects.filter(owner_id=self.request.user)[:50]
