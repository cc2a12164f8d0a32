"""Files over HTTP, through the one port: what goes in, what comes out, and to whom."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from django.db import connection

from atelier import bootstrap
from atelier.commands import check
from atelier.database import Database
from atelier.files import celery_app, django_setup, searches, service
from atelier.files.inspectors import Inspection, Picture
from atelier.files.models import File, Outbox
from atelier.wire.searches import TooSlow
from atelier.wire.spool import MEMORY_BYTES
from tests.files.conftest import PHOTOS, Person
from tests.problems import is_problem

if TYPE_CHECKING:
    from atelier.settings import Settings

TEXT = b"one two\nthree\n"
PROBLEM = "application/problem+json"
pytestmark = pytest.mark.usefixtures("app")


async def in_thread(work: Any, *arguments: Any) -> Any:
    """Run what talks to the database by Django: it must not be on the event loop."""

    def run() -> Any:
        try:
            return work(*arguments)
        finally:
            django_setup.disconnect()

    return await asyncio.to_thread(run)


class TestUpload:
    """`POST /api/upload/`."""

    async def test_answers_with_the_record(self, ada: Person) -> None:
        """201, the serialized file, not yet processed; where it is and its entity tag."""
        answer = await ada.client.post(
            "/api/upload/", files={"file": ("notes.txt", TEXT, "image/png")}
        )
        record = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == record["url"] == f"/api/files/{record['id']}/"
        assert answer.headers["etag"] == '"1.1"'
        assert record == {
            "id": record["id"],
            "file": f"/api/files/{record['id']}/content",
            "name": "notes.txt",
            "content_type": "text/plain",
            "kind": "text",
            "size": len(TEXT),
            "sha256": hashlib.sha256(TEXT).hexdigest(),
            "uploaded_at": record["uploaded_at"],
            "processed": False,
            "status": "queued",
            "result": None,
            "error": None,
            "thumbnail": None,
            "url": record["url"],
            "space_id": ada.id,
            "created_by": ada.id,
        }
        assert record["uploaded_at"].endswith("Z")

    @pytest.mark.parametrize("path", ["/api/upload/", "/api/upload", "/upload/", "/upload"])
    async def test_every_spelling_works(self, ada: Person, path: str) -> None:
        """With and without the slash, at the root as the seed has it: never a redirect."""
        assert (await ada.client.post(path, files={"file": ("a", TEXT)})).status_code == 201

    async def test_announces_it_in_the_same_transaction(self, ada: Person) -> None:
        """`file.uploaded` is the first event of the file."""
        record = await ada.upload(TEXT)
        events = await in_thread(
            lambda: list(Outbox.objects.filter(subject=f"files/{record['id']}"))
        )
        assert [(event.type, event.sequence, event.data["sha256"]) for event in events] == [
            ("file.uploaded", 1, record["sha256"])
        ]

    @pytest.mark.parametrize(
        ("files", "data", "slug"),
        [
            ({"file": ("empty.txt", b"")}, None, "empty-file"),
            ({}, {"file": "a text field"}, "unsupported"),
            ({}, None, "no-file"),
        ],
    )
    async def test_needs_a_file_with_content(
        self, ada: Person, files: Any, data: Any, slug: str
    ) -> None:
        """No file and an empty file are 400; a form that is none is 415."""
        answer = await ada.client.post("/api/upload/", files=files or None, data=data)
        assert is_problem(answer, 415 if slug == "unsupported" else 400, slug)

    @pytest.mark.parametrize(
        "files",
        [
            [("file", ("a.txt", TEXT)), ("file", ("b.txt", TEXT))],
            [("file", ("a.txt", TEXT)), ("image", ("b.txt", TEXT))],
            [("image", ("b.txt", TEXT)), ("file", ("a.txt", TEXT))],
        ],
    )
    async def test_refuses_files_that_would_be_lost(
        self, ada: Person, settings: Settings, files: Any
    ) -> None:
        """A second file, under the same name or another, is 422; nothing stays behind."""
        answer = await ada.client.post("/api/upload/", files=files)
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"] == ["body", "file"]
        assert not list((settings.incoming_folder).glob("*"))

    @pytest.mark.parametrize("path", ["/api/upload/", "/api/upload", "/upload/", "/upload"])
    @pytest.mark.parametrize("size", [1, 3 * MEMORY_BYTES])
    async def test_a_file_in_another_part_is_no_file(
        self, ada: Person, settings: Settings, path: str, size: int
    ) -> None:
        """400, and the detail names the part that is read; nothing stays behind."""
        answer = await ada.client.post(path, files={"image": ("a.txt", b"x" * size)})
        assert is_problem(answer, 400, "no-file")
        assert "in the part `file`" in answer.json()["detail"]
        assert (await ada.client.get("/api/files/")).json() == []
        assert not list(settings.incoming_folder.glob("*"))

    async def test_unknown_fields_are_refused(self, ada: Person, settings: Settings) -> None:
        """As every other form does: what is ignored without a word is lost without a word."""
        answer = await ada.client.post(
            "/api/upload/", files={"file": ("a.txt", TEXT * 100_000)}, data={"description": "mine"}
        )
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"] == [
            {"loc": ["body", "description"], "msg": "There is no such field; there is `file`"}
        ]
        assert not list((settings.incoming_folder).glob("*"))

    async def test_a_text_field_is_no_file(self, ada: Person) -> None:
        """A multipart part without a file name is a field."""
        body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhello\r\n--x--\r\n'
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert is_problem(
            await ada.client.post("/api/upload/", content=body, headers=headers), 400, "no-file"
        )

    @pytest.mark.parametrize(
        ("body", "content_type", "status"),
        [
            (b"{}", "application/json", 415),
            (b"--x\r\nbroken", "multipart/form-data; boundary=x", 400),
            (b"x", "multipart/form-data", 400),
            (b"", "multipart/form-data; boundary=x", 400),
        ],
    )
    async def test_bodies_that_are_no_forms(
        self, ada: Person, body: bytes, content_type: str, status: int
    ) -> None:
        """415 for another type, 400 for a broken one, each with what is to be done."""
        answer = await ada.client.post(
            "/api/upload/", content=body, headers={"content-type": content_type}
        )
        assert answer.status_code == status
        assert "multipart" in answer.json()["detail"]
        assert answer.headers["content-type"] == PROBLEM

    @pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20 + 7])
    async def test_large_files_go_by_the_disk(
        self, ada: Person, settings: Settings, size: int
    ) -> None:
        """Around and above the size that is kept in memory the content is what was sent.

        The spool is left empty.
        """
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        record = await ada.upload(content)
        assert record["sha256"] == hashlib.sha256(content).hexdigest()
        assert (await ada.client.get(record["file"])).content == content
        assert not list((settings.incoming_folder).glob("*"))

    async def test_too_large_is_413(self, ada: Person, settings: Settings) -> None:
        """With a declared length or without, nothing stays behind."""
        content = bytes(settings.body_limit + 1)
        assert is_problem(
            await ada.client.post("/api/upload/", files={"file": ("a", content)}), 413, "too-large"
        )

        async def stream() -> Any:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(9):
                yield bytes(2**20)

        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await ada.client.post("/api/upload/", content=stream(), headers=headers)
        assert is_problem(answer, 413, "too-large")
        assert not list((settings.incoming_folder).glob("*"))

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ada\\résumé.doc", "résumé.doc"),
            ("e\u0301.txt", "é.txt"),
            ("a\u202egpj.exe", "agpj.exe"),
            ("n" * 300 + ".txt", "n" * 251 + ".txt"),
            ("'; DROP TABLE files; --", "'; DROP TABLE files; --"),
            ("<script>", "<script>"),
        ],
    )
    async def test_names_are_data(self, ada: Person, given: str, kept: str) -> None:
        """The last part of a path, nothing invisible, bounded.

        The blob's key has nothing of it.
        """
        record = await ada.upload(TEXT, given)
        assert record["name"] == kept
        file = await in_thread(_get, record["id"])
        assert "passwd" not in file.file.name

    async def test_the_same_key_is_answered_once(self, ada: Person) -> None:
        """A repeated Idempotency-Key replays the first answer; with other content it is 422.

        A bad one, too.
        """
        headers = {"Idempotency-Key": "k-1"}
        first = await ada.client.post(
            "/api/upload/", files={"file": ("a.txt", TEXT)}, headers=headers
        )
        again = await ada.client.post("/upload", files={"file": ("a.txt", TEXT)}, headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        other = await ada.client.post(
            "/api/upload/", files={"file": ("b.txt", b"x")}, headers=headers
        )
        assert is_problem(other, 422, "idempotency-key-reused")
        bad = await ada.client.post(
            "/api/upload/", files={"file": ("a", TEXT)}, headers={"Idempotency-Key": "a b"}
        )
        assert is_problem(bad, 422, "invalid")
        assert len((await ada.client.get("/api/files/")).json()) == 1

    async def test_two_at_once_with_one_key_make_one_file(self, ada: Person) -> None:
        """The second waits for the first and gets its answer."""
        headers = {"Idempotency-Key": "k-2"}
        tries = [
            ada.client.post("/api/upload/", files={"file": ("a", TEXT)}, headers=headers)
            for _ in range(6)
        ]
        answers = await asyncio.gather(*tries)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1

    async def test_a_key_is_ones_own(self, ada: Person, bob: Person) -> None:
        """Two people may choose the same key."""
        headers = {"Idempotency-Key": "shared"}
        one = await ada.upload(TEXT, headers=headers)
        assert (await bob.upload(TEXT, headers=headers))["id"] != one["id"]


def _get(file_id: int) -> File:
    found: File = File.objects.get(id=file_id)
    return found


class TestList:
    """`GET /api/files/`."""

    @pytest.mark.parametrize("path", ["/api/files/", "/api/files", "/files/", "/files"])
    async def test_is_an_array_newest_first(self, ada: Person, path: str) -> None:
        """All of one's files with their status, under every spelling."""
        ids = [(await ada.upload(TEXT))["id"] for _ in range(3)]
        answer = await ada.client.get(path)
        assert [record["id"] for record in answer.json()] == ids[::-1]
        assert {record["status"] for record in answer.json()} <= {"queued", "processed"}
        assert "link" not in answer.headers

    async def test_pages_by_keyset(self, ada: Person) -> None:
        """Every record once, by the links."""
        ids = [(await ada.upload(TEXT))["id"] for _ in range(5)]
        seen, url = [], "/api/files/?limit=2&kind=text"
        while url:
            answer = await ada.client.get(url)
            seen += [record["id"] for record in answer.json()]
            url = answer.links.get("next", {}).get("url")
        assert seen == ids[::-1]

    async def test_narrows(self, ada: Person) -> None:
        """By kind and status."""
        await ada.upload(TEXT)
        await ada.upload(b"a,b\n1,2\n")
        assert len((await ada.client.get("/api/files/?kind=csv")).json()) == 1
        assert len((await ada.client.get("/api/files/?status=failed")).json()) == 0

    async def test_names_are_searched(self, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the case, its signs meaning themselves; 503 where that takes too long."""
        for name in ("Отчёт 100%.txt", "other.txt", "ОТЧЁТ 1000.csv"):
            await ada.upload(TEXT, name=name)
        for query, expected in (("отчёт", 2), ("0%", 1), ("отчёт&kind=csv", 0), ("none", 0)):
            answer = await ada.client.get(f"/api/files/?q={query.replace('%', '%25')}")
            assert len(answer.json()) == expected, query
        link = (await ada.client.get("/api/files/?q=отчёт&limit=1")).links["next"]["url"]
        assert len((await ada.client.get(link)).json()) == 1
        monkeypatch.setattr("atelier.files.searches.SEARCH_TIMEOUT_MS", 1)

        def search() -> None:
            with searches.searching(1), connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")

        with pytest.raises(TooSlow):
            await in_thread(search)

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=501",
            "limit=x",
            "limit=٣",
            "cursor=x",
            "cursor=AAAA",
            "kind=x",
            "status=no",
        ],
    )
    async def test_bad_parameters_are_422(self, ada: Person, query: str) -> None:
        """Each names itself."""
        answer = await ada.client.get(f"/api/files/?{query}")
        assert is_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["loc"] == ["query", query.partition("=")[0]]

    async def test_a_cursor_belongs_to_its_list(self, ada: Person) -> None:
        """One of other filters is refused."""
        for _ in range(2):
            await ada.upload(TEXT)
        link = (await ada.client.get("/api/files/?limit=1")).links["next"]["url"]
        assert is_problem(await ada.client.get(f"{link}&kind=text"), 422, "invalid")


class TestOne:
    """Record, content, thumbnail, delete, retry."""

    async def test_record(self, ada: Person) -> None:
        """With and without the slash; 304 for who has it."""
        record = await ada.upload(TEXT)
        answer = await ada.client.get(record["url"].rstrip("/"))
        assert answer.json() == record
        same = await ada.client.get(
            record["url"], headers={"If-None-Match": answer.headers["etag"]}
        )
        assert (same.status_code, same.content) == (304, b"")

    async def test_content_is_what_came_and_never_runs(self, ada: Person) -> None:
        """The bytes come as a sandboxed attachment under its name, and HEAD agrees."""
        page = b"<!doctype html><script>alert(1)</script>"
        record = await ada.upload(page, "страница.html")
        answer = await ada.client.get(record["file"])
        assert answer.content == page
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-disposition"].startswith(
            "attachment; filename*=utf-8''%D1%81"
        )
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        head = await ada.client.head(record["file"])
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(page))

    @pytest.mark.parametrize(
        ("wanted", "part"),
        [
            ("bytes=0-2", slice(0, 3)),
            ("bytes=5-", slice(5, None)),
            ("bytes=-4", slice(-4, None)),
            ("bytes=2-900", slice(2, None)),
            ("bytes=-900", slice(0, None)),
        ],
    )
    async def test_ranges(self, ada: Person, wanted: str, part: slice) -> None:
        """206 with the part that was asked for."""
        answer = await ada.client.get((await ada.upload(TEXT))["file"], headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (206, TEXT[part])
        assert answer.headers["content-length"] == str(len(TEXT[part]))
        assert answer.headers["content-range"].endswith(f"/{len(TEXT)}")

    @pytest.mark.parametrize("wanted", ["bytes=99-", "bytes=-0"])
    async def test_ranges_outside(self, ada: Person, wanted: str) -> None:
        """416 with the size."""
        answer = await ada.client.get((await ada.upload(TEXT))["file"], headers={"Range": wanted})
        assert is_problem(answer, 416, "range-not-satisfiable")
        assert answer.headers["content-range"] == f"bytes */{len(TEXT)}"

    @pytest.mark.parametrize("wanted", ["bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=x"])
    async def test_ranges_that_are_none(self, ada: Person, wanted: str) -> None:
        """They are ignored."""
        assert (
            await ada.client.get((await ada.upload(TEXT))["file"], headers={"Range": wanted})
        ).content == TEXT

    async def test_content_is_conditional(self, ada: Person) -> None:
        """304 by tag and by date, 412 for another tag, and If-Range decides about the part."""
        url = (await ada.upload(TEXT))["file"]
        answer = await ada.client.get(url)
        tag, moment = answer.headers["etag"], answer.headers["last-modified"]
        assert (await ada.client.get(url, headers={"If-None-Match": tag})).status_code == 304
        assert (
            await ada.client.get(url, headers={"If-Modified-Since": moment})
        ).status_code == 304
        other = await ada.client.get(url, headers={"If-Match": '"other"'})
        assert is_problem(other, 412, "precondition-failed")
        part = {"Range": "bytes=0-0"}
        assert (await ada.client.get(url, headers=part | {"If-Range": tag})).status_code == 206
        assert (
            await ada.client.get(url, headers=part | {"If-Range": '"other"'})
        ).status_code == 200

    async def test_content_is_left_to_the_proxy(
        self, ada: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With `accel_prefix` nginx gets the address and every header.

        What it would judge otherwise is sent by us.
        """
        url = (await ada.upload(TEXT))["file"]
        whole = await ada.client.get(url)
        monkeypatch.setattr(
            django_setup.context(),
            "settings",
            django_setup.context().settings.model_copy(update={"accel_prefix": "/_b/"}),
        )
        left = await ada.client.get(url)
        assert (left.status_code, left.content) == (200, b"")
        assert left.headers["x-accel-redirect"].startswith("/_b/files/")
        names = (
            "etag",
            "last-modified",
            "content-type",
            "content-disposition",
            "content-security-policy",
        )
        assert {name: left.headers[name] for name in names} == {
            name: whole.headers[name] for name in names
        }
        part = await ada.client.get(url, headers={"Range": "bytes=0-0"})
        assert (part.status_code, part.content) == (200, b"")
        for headers in ({"If-Match": whole.headers["etag"]}, {"Range": "lines=1"}):
            assert (await ada.client.get(url, headers=headers)).content == TEXT
        assert (
            await ada.client.get(url, headers={"If-None-Match": whole.headers["etag"]})
        ).status_code == 304
        assert "x-accel-redirect" not in (await ada.client.head(url)).headers

    async def test_content_that_is_gone_is_404(self, ada: Person, settings: Settings) -> None:
        """A blob that somebody removed by hand."""
        record = await ada.upload(TEXT)
        file = await in_thread(_get, record["id"])
        (settings.blobs_folder / file.file.name).unlink()
        assert is_problem(await ada.client.get(record["file"]), 404, "not-found")

    async def test_thumbnail(self, ada: Person) -> None:
        """404 until there is one; then the picture, which a browser shows instead of saving it."""
        record = await ada.upload((PHOTOS / "waterfall_640x480.jpg").read_bytes())
        url = f"{record['url']}thumbnail"
        assert is_problem(await ada.client.get(url), 404, "not-found")
        picture = Picture(b"small", "image/jpeg", 2, 1)
        result = {"thumbnail": {"size": 5, "content_type": "image/jpeg"}}
        await in_thread(
            service.finish, record["id"], 1, Inspection("image", "image/jpeg", result, picture)
        )
        answer = await ada.client.get(url)
        assert (answer.content, answer.headers["content-type"]) == (b"small", "image/jpeg")
        assert answer.headers["content-disposition"].startswith("inline;")

    @pytest.mark.parametrize("days", [0, 1])
    async def test_delete_removes_all_of_it(
        self, ada: Person, settings: Settings, days: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """204; the record is gone, without a trash the blob, too, and it is announced."""
        changed = settings.model_copy(update={"trash_days": days})
        monkeypatch.setattr(django_setup.context(), "settings", changed)
        record = await ada.upload(TEXT)
        file = await in_thread(_get, record["id"])
        assert (await ada.client.delete(record["url"])).status_code == 204
        assert (await ada.client.get(record["url"])).status_code == 404
        assert (await ada.client.delete(record["url"])).status_code == 404
        assert (settings.blobs_folder / file.file.name).exists() == bool(days)
        events = await in_thread(
            lambda: list(Outbox.objects.filter(subject=f"files/{file.pk}").order_by("sequence"))
        )
        assert [event.type for event in events] == ["file.uploaded", "file.deleted"]

    async def test_delete_honours_if_match(self, ada: Person) -> None:
        """412 for another state than the present."""
        record = await ada.upload(TEXT)
        answer = await ada.client.delete(record["url"], headers={"If-Match": '"9.9"'})
        assert is_problem(answer, 412, "precondition-failed")
        assert (
            await ada.client.delete(record["url"], headers={"If-Match": '"1.1"'})
        ).status_code == 204

    async def test_only_a_failed_file_is_retried(self, ada: Person) -> None:
        """409 for another; 202 and queued again, at another version, for a failed one."""
        record = await ada.upload(TEXT)
        assert is_problem(await ada.client.post(f"{record['url']}retry"), 409, "not-failed")
        await in_thread(service.fail, record["id"], 1, "bad-thing", "it was bad")
        failed = (await ada.client.get(record["url"])).json()
        assert (failed["status"], failed["processed"]) == ("failed", False)
        assert failed["error"] == {"reason": "bad-thing", "detail": "it was bad"}
        answer = await ada.client.post(f"{record['url']}retry/")
        assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (
            202,
            "queued",
            None,
        )
        assert (await in_thread(_get, record["id"])).version == 2

    async def test_another_users_file_is_404_on_every_verb(self, ada: Person, bob: Person) -> None:
        """As if it did not exist; and it still does."""
        record = await ada.upload(TEXT)
        url = record["url"]
        calls = [
            bob.client.get(url), bob.client.head(url), bob.client.delete(url),
            bob.client.get(record["file"]),
            bob.client.head(record["file"]), bob.client.get(f"{url}thumbnail"),
            bob.client.post(f"{url}retry"),
        ]  # fmt: skip
        assert [(await call).status_code for call in calls] == [404] * 7
        assert (await bob.client.get("/api/files/")).json() == []
        assert (await ada.client.get(url)).status_code == 200

    @pytest.mark.parametrize(
        "last", ["0/", f"{2**63}/", f"{10**40}/", "-1/", "x", "1/2", "1/content/2"]
    )
    async def test_what_does_not_exist_is_404(self, ada: Person, last: str) -> None:
        """As a problem, also from Django."""
        assert is_problem(await ada.client.get(f"/api/files/{last}"), 404, "not-found")

    async def test_methods_that_are_not_offered(self, ada: Person) -> None:
        """405 with Allow."""
        answer = await ada.client.put("/api/files/")
        assert is_problem(answer, 405, "method-not-allowed")
        assert "GET" in answer.headers["allow"]


class TestTokens:
    """The caller."""

    @pytest.mark.parametrize(
        "path", ["/api/files/", "/files", "/api/files/1/content", "/api/upload/"]
    )
    async def test_a_token_is_needed(self, app: httpx2.ASGITransport, path: str) -> None:
        """401 with the challenge, before a body is read."""
        async with httpx2.AsyncClient(transport=app, base_url="http://localhost") as anonymous:
            for headers in ({}, {"Authorization": "Bearer x"}):
                answer = await anonymous.request(
                    "POST" if "upload" in path else "GET", path, headers=headers
                )
                assert is_problem(answer, 401, "unauthenticated")
                assert answer.headers["www-authenticate"].startswith("Bearer")

    async def test_signing_out_ends_it_here_too(self, ada: Person) -> None:
        """The token of an ended session is dead at once."""
        assert (await ada.client.get("/api/files/")).status_code == 200
        assert (await ada.client.post("/api/auth/logout")).status_code == 204
        assert (await ada.client.get("/api/files/")).status_code == 401


async def test_leaving_takes_files_along(ada: Person, bob: Person, settings: Settings) -> None:
    """An account's deletion deletes and announces its files; the collector has their blobs."""
    records = [await ada.upload(TEXT) for _ in range(3)]
    kept = await bob.upload(TEXT)
    await in_thread(
        service.finish,
        records[0]["id"],
        1,
        Inspection("text", "text/plain", {}, Picture(b"t", "image/png", 1, 1)),
    )
    keys = [key for record in records for key in (await in_thread(_get, record["id"])).keys]
    assert len(keys) == 4
    assert (await ada.client.delete(f"/api/users/{ada.id}")).status_code == 204
    subjects = [f"files/{record['id']}" for record in records]
    events = await in_thread(
        lambda: list(Outbox.objects.filter(subject__in=subjects, type="file.deleted"))
    )
    assert sorted(event.sequence for event in events) == [2, 2, 3]
    assert (await bob.client.get(kept["url"])).status_code == 200
    database = Database(bootstrap.database_url(settings))
    blobs = bootstrap.open_blobs(settings)
    report = await check.check(database, blobs, deep=True)
    listed = {
        row["key"]
        for row in await database.fetch("SELECT key FROM blob_garbage WHERE key = any($1)", keys)
    }
    await database.close()
    assert listed == set(keys)
    assert not [key for key in report.orphaned if key in keys]


async def test_a_broker_that_is_away_costs_no_upload(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """201 all the same: the row is there, and the reconciler will offer it."""
    monkeypatch.setitem(celery_app.app.conf, "broker_url", "redis://127.0.0.1:1/0")
    celery_app.app._after_fork()
    try:
        record = await ada.upload(TEXT)
    finally:
        monkeypatch.undo()
        celery_app.app._after_fork()
    assert record["status"] == "queued"
