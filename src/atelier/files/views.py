"""Files over HTTP, by DRF: parse, call, shape."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.generics import ListAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView as PlainView

from atelier.auth import Right, in_space
from atelier.errors import Forbidden, Malformed, NotFound
from atelier.files import authentication, content, idempotency, jobs, searches, service
from atelier.files.bodies import moving
from atelier.files.models import File, Kind, Status
from atelier.files.openapi import describe
from atelier.files.paging import KeysetPagination
from atelier.files.serializers import FileSerializer
from atelier.files.uploads import received
from atelier.wire.complaints import one_of, refused, unknown_parameters
from atelier.wire.multipart import Spooled
from atelier.wire.preconditions import PRIVATE, is_fresh
from atelier.wire.spaces import PARAMETER, elsewhere

UPLOAD = "POST /api/upload"
FILTERS: dict[str, list[str]] = {"status": Status.values, "kind": Kind.values}


class APIView(PlainView):
    """A view that refuses unknown query parameters, once the caller is authenticated."""

    parameters: tuple[str, ...] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, then check the query. Raises Unauthenticated, then Invalid."""
        super().initial(request, *args, **kwargs)
        if others := [name for name in request.GET if name not in self.parameters]:
            raise unknown_parameters(others, self.parameters)


def space_of(request: Request) -> int:
    """The space of a request; its token's right in it is judged. Raises as `space_of` does."""
    method = request.method or ""
    return authentication.space_of(request.user, method, request.GET.get(PARAMETER))


class Upload(APIView):
    """The upload of a file."""

    parameters = (PARAMETER,)

    @describe("upload")
    def post(self, request: Request) -> HttpResponse:
        """Upload a file.

        A file of any kind; it is inspected in the background.
        """
        space_id = space_of(request)
        with received(request) as upload:
            file = upload.file
            if file.size == 0:
                raise Malformed("The file is empty.", slug="empty-file")
            user_id = request.user.user_id
            mark = (file.sha256, file.name, *elsewhere(user_id, space_id))
            once = idempotency.Once(request, user_id, UPLOAD, *mark)
            return once.look() or self._create(space_id, user_id, file, once)

    def _create(
        self, space_id: int, user_id: int, upload: Spooled, once: idempotency.Once
    ) -> HttpResponse:
        try:
            file = service.store(space_id, user_id, upload)
        except Forbidden:
            if replay := once.look():  # the first request has just taken the last place
                return replay
            raise
        with transaction.atomic():
            if replay := once.take():
                return replay
            service.create(file)
            answer = record(file, 201)
            answer["Location"] = f"/api/files/{file.pk}/"
            once.keep(answer)
            transaction.on_commit(lambda: jobs.offer(file))
        return answer


class Files(APIView, ListAPIView):
    """All files of a space."""

    serializer_class = FileSerializer
    parameters = (*FILTERS, searches.PARAMETER, PARAMETER, *KeysetPagination.parameters)

    @describe("index")
    def get(self, request: Request) -> HttpResponse:
        """List my files.

        Their records, newest first, in pages; those of one space.
        """
        if searches.PARAMETER not in request.GET:
            return self.list(request)
        with searches.searching(request.user.user_id):
            return self.list(request)

    def get_queryset(self) -> QuerySet[File]:
        """The space's files, narrowed by the query."""
        rows = File.objects.shown().filter(owner_id=space_of(self.request))
        for name, choices in FILTERS.items():
            if (value := self.request.GET.get(name)) is not None:
                if value not in choices:
                    raise refused(one_of(choices), "query", name)
                rows = rows.filter(**{name: value})
        text = searches.read(self.request.GET.get(searches.PARAMETER))
        return rows if text is None else rows.filter(name__icontains=text)


class Detail(APIView):
    """One file's record."""

    @describe("detail")
    def get(self, request: Request, file_id: int) -> HttpResponse:
        """Get the record of a file.

        Name, kind, size, and what was found in it once it has been inspected.
        """
        file = service.find(request.user, file_id)
        if is_fresh(content.conditions_of(request), file.etag, None):
            return content.not_modified(_state(file))
        return record(file)

    @describe("delete")
    def delete(self, request: Request, file_id: int) -> HttpResponse:
        """Delete a file.

        Its record and its content.
        """
        service.delete(request.user, file_id, content.if_match(request))
        return HttpResponse(status=204)


class Move(APIView):
    """Another space for files."""

    @describe("move")
    def post(self, request: Request) -> HttpResponse:
        """Move files to another space.

        All of them, or none.
        """
        wanted = moving(request)
        space_id = in_space(request.user, wanted.space_id, Right.FILES_WRITE)
        moved = service.move(request.user, wanted.ids, space_id)
        return HttpResponse(f'{{"moved":{moved}}}', content_type="application/json")


class Retry(APIView):
    """Another try."""

    @describe("retry")
    def post(self, request: Request, file_id: int) -> HttpResponse:
        """Process a failed file again.

        409 `not-failed` for a file that has not failed.
        """
        file = service.retry(request.user, file_id, content.if_match(request))
        jobs.offer(file)
        return record(file, 202)


class Content(APIView):
    """The bytes."""

    @describe("content")
    def get(self, request: Request, file_id: int) -> Any:
        """Download a file.

        Byte by byte as it was uploaded, as an attachment.
        """
        file = service.find(request.user, file_id)
        key, moment = str(file.file.name), file.uploaded_at
        return content.respond(
            request,
            key,
            size=file.size,
            modified=moment,
            media_type=file.content_type,
            name=file.name,
        )


class Thumbnail(APIView):
    """A small picture."""

    @describe("thumbnail")
    def get(self, request: Request, file_id: int) -> Any:
        """Get the thumbnail of a file.

        Files of the kind `image` have one once they have been inspected; 404 for others.
        """
        file = service.find(request.user, file_id)
        if file.thumbnail is None:
            raise NotFound("This file has no thumbnail.")
        about = file.result["thumbnail"]
        key, moment = file.thumbnail, file.updated_at
        return content.respond(
            request,
            key,
            size=about["size"],
            modified=moment,
            media_type=about["content_type"],
            name=key.rpartition("-")[2],
            attachment=False,
        )


def record(file: File, status: int = 200) -> HttpResponse:
    """The record as JSON, with its entity tag."""
    body = JSONRenderer().render(FileSerializer(file).data)
    return HttpResponse(body, status=status, content_type="application/json", headers=_state(file))


def _state(file: File) -> dict[str, str]:
    """The headers by which a client asks again."""
    return {"ETag": f'"{file.etag}"', "Cache-Control": PRIVATE}
