"""The table of contract, row by row: upload, list, read, change, delete, and what each refuses."""

from __future__ import annotations

import hashlib
import io
import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from atelier.blobs import garbage
from atelier.blobs.directory import DirectoryBlobs
from atelier.database import Database
from atelier.images.service import EXTENSIONS
from atelier.imaging.identify.probe import MEDIA_TYPES
from atelier.imaging.warm import AVIF, HEIC
from tests.images.conftest import PHOTOS, Person, Team

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from atelier.settings import Settings

SEED_TEXT = "С начала фазы запрещающего сигнала прошло: 7 секунд"
WATERFALL = (PHOTOS / "waterfall_640x480.jpg").read_bytes()


def blobs(settings: Settings) -> list[Path]:
    """Every file in the blob store."""
    return [path for path in settings.blobs_folder.rglob("*") if path.is_file()]


async def test_an_upload_is_answered_with_its_record(ada: Person) -> None:
    """201 with Location, the queued record, and everything that the header of the file says."""
    files = {"file": ("waterfall.jpg", WATERFALL, "image/jpeg")}
    form = {"description": SEED_TEXT, "title": "Crossing", "tags": ["traffic, night", "night"]}
    answer = await ada.client.post("/api/images", files=files, data=form)
    record = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == record["url"] == f"/api/images/{record['id']}"
    assert (
        record
        | {
            "title": "Crossing",
            "description": SEED_TEXT,
            "tags": ["traffic", "night"],
            "format": "JPEG",
            "resolution": "640x480",
            "width": 640,
            "height": 480,
            "size": len(WATERFALL),
            "sha256": hashlib.sha256(WATERFALL).hexdigest(),
            "status": "queued",
            "error": None,
            "renditions": [],
        }
        == record
    )
    assert record["uploaded_at"] == record["received_at"]
    assert record["received_at"].endswith("Z")
    assert not record["file_path"].startswith("/")


async def test_the_other_part_name_and_the_file_name_serve(ada: Person) -> None:
    """The picture may come as `image`; without a title the file's name is one."""
    answer = await ada.client.post(
        "/api/images", files={"image": ("мост.jpg", WATERFALL, "image/jpeg")}
    )
    assert answer.status_code == 201
    assert answer.json()["title"] == "мост.jpg"


async def test_every_rendition_comes_out(ada: Person, workers: None) -> None:
    """A described picture is resized and turned grey, with its caption below at full size."""
    record = await ada.settled((await ada.upload(description=SEED_TEXT))["id"])
    assert record["status"] == "ready"
    made = {r["name"]: r for r in record["renditions"]}
    assert made.keys() == {"100x100", "500x500", "gray", "captioned"}
    for rendition in record["renditions"]:
        answer = await ada.client.get(rendition["url"])
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (rendition["width"], rendition["height"])
        assert len(answer.content) == rendition["size"]
    assert (made["100x100"]["width"], made["100x100"]["height"]) == (100, 75)
    assert (made["500x500"]["width"], made["500x500"]["height"]) == (500, 375)
    assert (made["gray"]["width"], made["gray"]["height"]) == (640, 480)
    assert made["captioned"]["width"] == 640
    assert made["captioned"]["height"] > 480
    served = await ada.client.get(record["url"])
    assert served.content == (await ada.client.get(made["captioned"]["url"])).content


async def test_an_address_with_its_version_lasts(ada: Person, workers: None) -> None:
    """It is kept for a year; with another version, or none, the reader asks each time."""
    record = await ada.settled((await ada.upload(description="one"))["id"])
    made = {r["name"]: r["url"] for r in record["renditions"]}
    url = made["captioned"]
    plain, _, version = url.partition("?v=")
    assert plain == f"{record['url']}/renditions/captioned"
    whole = await ada.client.get(url)
    assert whole.headers["etag"].startswith(f'"{version}')
    for status, method, headers in (
        (200, "GET", {}),
        (200, "HEAD", {}),
        (206, "GET", {"Range": "bytes=0-9"}),
        (304, "GET", {"If-None-Match": whole.headers["etag"]}),
    ):
        for address, kept in (
            (url, "private, max-age=31536000, immutable"),
            (f"{plain}?v={version[:-1]}", "private, no-cache"),
            (f"{plain}?v=", "private, no-cache"),
            (plain, "private, no-cache"),
        ):
            answer = await ada.client.request(method, address, headers=headers)
            assert (answer.status_code, answer.headers["cache-control"]) == (status, kept)
            assert answer.headers["etag"] == whole.headers["etag"]
    await ada.client.patch(record["url"], json={"description": "two"})
    changed = await ada.settled(record["id"])
    answer = await ada.client.get(url)
    assert answer.headers["cache-control"] == "private, no-cache"
    now = {r["name"]: r["url"] for r in changed["renditions"]}["captioned"]
    assert answer.content == (await ada.client.get(now)).content != whole.content
    refused = await ada.client.get(url, headers={"If-Match": whole.headers["etag"]})
    assert (refused.status_code, "immutable" in str(refused.headers)) == (412, False)
    assert (await ada.client.get(f"{plain}?v={'a' * 65}")).status_code == 422


async def test_without_a_description_the_upright_picture_is_served(
    ada: Person, workers: None
) -> None:
    """A picture that lies on its side is turned, and there is no caption."""
    record = await ada.settled((await ada.upload("Landscape_6.jpg"))["id"])
    answer = await ada.client.get(record["url"])
    assert Image.open(io.BytesIO(answer.content)).size == (record["width"], record["height"])
    assert record["width"] > record["height"]
    assert "captioned" not in {r["name"] for r in record["renditions"]}


@pytest.mark.parametrize(
    ("content", "media_type"), [(HEIC, "image/heic"), (AVIF, "image/avif")], ids=["HEIC", "AVIF"]
)
async def test_pictures_of_phones_are_shown_and_kept(
    ada: Person, workers: None, content: bytes, media_type: str
) -> None:
    """HEIC and AVIF get their renditions; the original is served as what it is."""
    record = await ada.settled((await ada.upload(content=content))["id"])
    assert (record["status"], record["format"]) == ("ready", media_type[6:].upper())
    original = await ada.client.get(record["url"] + "/renditions/original")
    assert original.headers["content-type"] == media_type
    assert original.content == content


def test_every_format_has_a_suffix() -> None:
    """What can be identified can be stored."""
    assert EXTENSIONS.keys() == MEDIA_TYPES.keys()


async def test_a_queued_picture_is_not_ready(ada: Person) -> None:
    """Before it is processed the picture is a 404 that says so and when to come again.

    The original is there.
    """
    record = await ada.upload()
    answer = await ada.client.get(record["url"])
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("not-ready")
    assert int(answer.headers["retry-after"]) >= 1
    assert (
        (await ada.client.get(record["url"] + "/renditions/gray"))
        .json()["type"]
        .endswith("not-ready")
    )
    assert (await ada.client.get(record["url"] + "/renditions/original")).content == WATERFALL


async def test_a_damaged_picture_fails_with_a_reason(
    ada: Person, workers: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A truncated file ends failed; record and log say why; it is a 404 `processing-failed`."""
    record = await ada.settled((await ada.upload(content=WATERFALL[:20_000]))["id"])
    assert record["status"] == "failed"
    assert record["error"]["reason"] == "bad-picture"
    answer = await ada.client.get(record["url"])
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("processing-failed")
    assert answer.json()["detail"] == record["error"]["detail"] != ""
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
    said = f"image {record['id']} failed: bad-picture: {record['error']['detail']}"
    assert warnings.count(said) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"GIF8",
        b"\xff\xd8",
    ],
)
async def test_what_is_no_image_is_unsupported(
    ada: Person, settings: Settings, content: bytes
) -> None:
    """Text, SVG, PDF, EPS and fragments are 415, whatever their name, and none of them is kept."""
    problem = await ada.upload(content=content, expect=415)
    assert problem["status"] == 415
    assert not blobs(settings)


async def test_an_empty_file_is_refused(ada: Person) -> None:
    """A file of no bytes is no image."""
    answer = await ada.client.post("/api/images", files={"file": ("empty.jpg", b"", "image/jpeg")})
    assert answer.status_code in (415, 422)


async def test_an_upload_without_a_file_is_invalid(ada: Person) -> None:
    """No file part is 422 and names the part."""
    answer = await ada.client.post("/api/images", files={"description": (None, "x")})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "file"]


@pytest.mark.parametrize("form", [{"descripton": "x"}, {"description": ["a", "b"]}, {"tag": "x"}])
async def test_a_misspelt_or_doubled_field_is_invalid(
    ada: Person, settings: Settings, form: dict[str, object]
) -> None:
    """A misspelt field is a 422 that names it, and nothing of that upload is kept."""
    problem = await ada.upload(expect=422, **form)
    assert problem["errors"][0]["loc"] == ["body", next(iter(form))]
    assert not blobs(settings)


async def test_the_record_reads_as_it_was_answered(ada: Person) -> None:
    """POST and GET give the same record, the keys of its metadata in the same order."""
    files = {"file": ("a.jpg", WATERFALL, "image/jpeg")}
    answer = await ada.client.post("/api/images", files=files)
    assert len(answer.json()["metadata"]) > 1
    read = await ada.client.get(answer.headers["location"] + "/info")
    answered = answer.json()
    assert answered.pop("duplicates") == []
    assert json.dumps(read.json()) == json.dumps(answered)


async def test_an_upload_tells_of_the_same_content(ada: Person, bob: Person, team: Team) -> None:
    """Pictures of the same space alone, newest first; it is stored all the same."""
    first = (await ada.upload(title="one"))["id"]
    assert ada.duplicates == []
    await bob.upload()
    await ada.upload("Landscape_6.jpg")
    await ada.upload(space=team.id)
    assert (ada.duplicates, bob.duplicates) == ([], [])
    second = (await ada.upload(title="two"))["id"]
    assert ada.duplicates == [first]
    await ada.upload(headers={"Idempotency-Key": "one"})
    assert ada.duplicates == [second, first]
    await ada.client.delete(f"/api/images/{second}")
    await ada.upload(headers={"Idempotency-Key": "one"})
    assert ada.duplicates == [second, first]  # the first answer, again
    info = await ada.client.get(f"/api/images/{first}/info")
    assert "duplicates" not in info.json()


async def test_a_picture_is_not_younger_than_its_answer(ada: Person) -> None:
    """`Last-Modified` is never after `Date`, even right after the upload."""
    for _ in range(5):
        answer = await ada.client.get((await ada.upload())["url"] + "/renditions/original")
        dates = [parsedate_to_datetime(answer.headers[name]) for name in ("last-modified", "date")]
        assert dates == sorted(dates)


async def test_a_description_of_201_characters_is_invalid(ada: Person, settings: Settings) -> None:
    """200 are accepted, 201 are not, and nothing of that upload is kept."""
    await ada.upload(description="ж" * 201, expect=422)
    assert not blobs(settings)
    await ada.upload(description="ж" * 200)


async def test_too_many_pixels_are_refused_by_the_header(ada: Person) -> None:
    """A small file that announces 4 gigapixels never reaches a decoder."""
    bomb = bytearray(WATERFALL)
    start = bomb.index(b"\xff\xc0")
    bomb[start + 5 : start + 9] = b"\xff\x00\xff\x00"
    problem = await ada.upload(content=bytes(bomb), expect=422)
    assert problem["type"].endswith("too-many-pixels")


async def test_characters_that_the_font_lacks_are_logged(
    ada: Person, workers: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The picture is ready, with boxes.

    The log names the image and the missing characters, for the operator.
    """
    plain = await ada.settled((await ada.upload(description="Ваза, 3 см"))["id"])
    record = await ada.settled((await ada.upload(description="明朝 🏺 明"))["id"])
    assert [plain["status"], record["status"]] == ["ready", "ready"]
    said = [record.getMessage() for record in caplog.records if "font" in record.getMessage()]
    assert said == [
        (
            f"image {record['id']}: the font of captions lacks 明 (U+660E), 朝 (U+671D), "
            "🏺 (U+1F3FA), drawn as boxes"
        )
    ]


async def test_changing_the_description_makes_a_new_caption(ada: Person, workers: None) -> None:
    """PATCH with a new description queues the picture again.

    The old picture is served until the new one is there.
    """
    first = await ada.settled((await ada.upload(description="one"))["id"])
    before = (await ada.client.get(first["url"])).content
    answer = await ada.client.patch(first["url"], json={"description": "two " * 50})
    assert answer.status_code == 200
    assert answer.json()["status"] == "queued"
    assert (await ada.client.get(first["url"])).status_code == 200
    record = await ada.settled(first["id"])
    after = (await ada.client.get(first["url"])).content
    assert record["description"] == "two " * 50
    assert after != before
    assert Image.open(io.BytesIO(after)).height > Image.open(io.BytesIO(before)).height


async def test_changing_other_words_needs_no_rendering(ada: Person, workers: None) -> None:
    """Title and tags change at once; the picture stays ready."""
    first = await ada.settled((await ada.upload(description="one"))["id"])
    answer = await ada.client.patch(first["url"], json={"title": "New", "tags": ["a"]})
    assert (
        answer.json() | {"title": "New", "tags": ["a"], "status": "ready", "description": "one"}
        == answer.json()
    )


async def events_of(database_url: str, image_id: int) -> list[tuple[str, int]]:
    """Type and sequence of everything that was announced of an image, oldest first."""
    database = Database(database_url)
    rows = await database.fetch(
        "SELECT type, sequence FROM outbox WHERE subject = $1 ORDER BY id", f"images/{image_id}"
    )
    await database.close()
    return [(row["type"], row["sequence"]) for row in rows]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_change_to_what_is_already_so_changes_nothing(
    ada: Person, database_url: str, method: str
) -> None:
    """The same words keep record and entity tag, and nothing is announced."""
    record = await ada.upload(title="Same", description="one", tags="a")
    info = await ada.client.get(record["url"] + "/info")
    words = {"title": "Same", "description": "one", "tags": ["a"]}
    answer = await ada.client.request(method, record["url"], json=words)
    assert answer.status_code == 200
    assert answer.json() == info.json()
    assert answer.headers["etag"] == info.headers["etag"]
    assert await events_of(database_url, record["id"]) == [("image.created", 1)]


async def test_a_failed_picture_can_be_tried_again(
    ada: Person, database_url: str, workers: None
) -> None:
    """A retry is a 202 with the queued record and a new entity tag, is announced, and ends."""
    failed = await ada.settled(
        (await ada.upload(content=WATERFALL[:20_000], description="one"))["id"]
    )
    same = await ada.client.patch(failed["url"], json={"description": "one"})
    assert same.json()["status"] == "failed"
    stale = await ada.client.post(failed["url"] + "/retry", headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    answer = await ada.client.post(
        failed["url"] + "/retry", headers={"If-Match": same.headers["etag"]}
    )
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (
        202,
        "queued",
        None,
    )
    assert answer.headers["etag"] != same.headers["etag"]
    assert (await ada.settled(failed["id"]))["error"] == failed["error"]
    told = ["image.created", "image.failed", "image.updated", "image.failed"]
    assert await events_of(database_url, failed["id"]) == list(zip(told, range(1, 5), strict=True))


async def test_only_a_failed_picture_can_be_tried_again(ada: Person) -> None:
    """Any other is a 409 that says how it stands."""
    record = await ada.upload()
    answer = await ada.client.post(record["url"] + "/retry")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-failed")
    assert "queued" in answer.json()["detail"]


async def test_put_replaces_all_words(ada: Person) -> None:
    """PUT needs title, description and tags, and replaces all three."""
    record = await ada.upload(description="one", tags="a")
    assert (await ada.client.put(record["url"], json={"title": "New"})).status_code == 422
    answer = await ada.client.put(
        record["url"], json={"title": "New", "description": "", "tags": []}
    )
    assert answer.json() | {"title": "New", "description": "", "tags": []} == answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"title": 7},
        {"title": ""},
        {"tags": "a"},
        {"description": "ж" * 201},
        {"nonsense": 1},
        {"title": "a\u0000"},
        [],
    ],
)
async def test_bad_changes_are_invalid(ada: Person, body: object) -> None:
    """Wrong types, empty titles, unknown fields and control characters are 422 without effect."""
    record = await ada.upload(title="Kept")
    assert (await ada.client.patch(record["url"], json=body)).status_code == 422
    assert (await ada.client.get(record["url"] + "/info")).json()["title"] == "Kept"


@pytest.mark.parametrize("field", ["title", "description", "tags"])
async def test_null_keeps_nothing_and_empties_nothing(ada: Person, field: str) -> None:
    """It is refused with words that say how a field is kept.

    Beside a good change nothing is changed.
    """
    record = await ada.upload(title="Kept", description="Kept", tags="kept")
    answer = await ada.client.patch(record["url"], json={"title": "New", field: None})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["loc"]) == (422, ["body", field])
    assert error["msg"] == "Null is not a value for this; leave the field out to keep it"
    assert (await ada.client.get(record["url"] + "/info")).json() == record


async def test_the_document_shows_the_limits_that_hold(ada: Person) -> None:
    """The limits of title and tags in OpenAPI are accepted, one more is not.

    Null is offered nowhere.
    """
    document = (await ada.client.get("/openapi.json")).json()
    shown = document["components"]["schemas"]["ImageChange"]["properties"]
    assert "null" not in str(shown)
    title, tag, tags = (
        shown["title"]["maxLength"],
        shown["tags"]["items"]["maxLength"],
        shown["tags"]["maxItems"],
    )
    most = {
        "title": "t" * title,
        "tags": [f"{number:{tag}}".replace(" ", "x") for number in range(tags)],
    }
    record = await ada.upload()
    answer = await ada.client.patch(record["url"], json=most)
    assert answer.json() | most == answer.json()
    for more in (
        {"title": "t" * (title + 1)},
        {"title": ""},
        {"tags": ["x" * (tag + 1)]},
        {"tags": ["x"] * (tags + 1)},
    ):
        assert (await ada.client.patch(record["url"], json=more)).status_code == 422, more


async def test_an_unknown_field_is_answered_with_those_that_there_are(ada: Person) -> None:
    """In JSON as in forms."""
    answer = await ada.client.patch((await ada.upload())["url"], json={"titel": "x"})
    [error] = answer.json()["errors"]
    assert error["msg"] == "There is no such field; there are `title`, `description`, `tags`"


async def test_reads_see_every_acknowledged_write(ada: Person) -> None:
    """A cached record is never stale: each PATCH is seen by the very next read."""
    record = await ada.upload()
    for number in range(20):
        await ada.client.get(record["url"] + "/info")
        await ada.client.patch(record["url"], json={"title": f"title {number}"})
        assert (await ada.client.get(record["url"] + "/info")).json()["title"] == f"title {number}"


async def test_deleting_leaves_nothing(
    ada: Person, application: FastAPI, settings: Settings, workers: None
) -> None:
    """DELETE is 204; without a trash row, files and cache are gone afterwards."""
    record = await ada.settled((await ada.upload(description="one"))["id"])
    await ada.client.get(record["url"])
    assert blobs(settings)
    application.state.resources.settings = settings.model_copy(update={"trash_days": 0})
    assert (await ada.client.delete(record["url"])).status_code == 204
    assert not blobs(settings)
    for path in ("", "/info", "/renditions/gray", "/renditions/original"):
        assert (await ada.client.get(record["url"] + path)).status_code == 404
    assert (await ada.client.delete(record["url"])).status_code == 404


async def test_entity_tags_guard_changes(ada: Person) -> None:
    """If-Match lets only the present version be changed or deleted; 412 otherwise."""
    record = await ada.upload()
    tag = (await ada.client.get(record["url"] + "/info")).headers["etag"]
    changed = await ada.client.patch(record["url"], json={"title": "x"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    for stale in (
        await ada.client.patch(record["url"], json={"title": "y"}, headers={"If-Match": tag}),
        await ada.client.put(
            record["url"],
            json={"title": "y", "description": "", "tags": []},
            headers={"If-Match": tag},
        ),
        await ada.client.delete(record["url"], headers={"If-Match": tag}),
    ):
        assert stale.status_code == 412
    fresh = {"If-Match": changed.headers["etag"]}
    assert (await ada.client.delete(record["url"], headers=fresh)).status_code == 204


async def test_pictures_are_served_conditionally_and_in_parts(ada: Person) -> None:
    """ETag and Last-Modified give 304; Range gives 206 and the very bytes; past the end is 416."""
    url = (await ada.upload())["url"] + "/renditions/original"
    whole = await ada.client.get(url)
    assert whole.headers["content-type"] == "image/jpeg"
    assert whole.headers["x-content-type-options"] == "nosniff"
    tag, modified = whole.headers["etag"], whole.headers["last-modified"]
    assert (await ada.client.get(url, headers={"If-None-Match": tag})).status_code == 304
    assert (await ada.client.get(url, headers={"If-Modified-Since": modified})).status_code == 304
    part = await ada.client.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, WATERFALL[100:200])
    assert (await ada.client.get(url, headers={"Range": "bytes=-5"})).content == WATERFALL[-5:]
    assert (await ada.client.get(url, headers={"Range": "bytes=9999999-"})).status_code == 416
    head = await ada.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(WATERFALL)


async def test_lists_are_paged_newest_first(ada: Person, bob: Person) -> None:
    """Pages of two cover all of one's own images, newest first, once each, and no others."""
    ids = [(await ada.upload(title=f"n{n}"))["id"] for n in range(5)]
    await bob.upload()
    found, url = [], "/api/images?limit=2"
    while url:
        answer = await ada.client.get(url)
        found += [record["id"] for record in answer.json()]
        url = answer.links.get("next", {}).get("url")
    assert found == ids[::-1]


async def test_lists_are_filtered(ada: Person, workers: None) -> None:
    """`status`, `tag` and `q` narrow the list; wildcards in `q` are plain characters."""
    red = await ada.settled((await ada.upload(title="Red 100%", tags="colour"))["id"])
    await ada.settled((await ada.upload(title="Blue", description="a_b", tags="colour,sea"))["id"])
    bad = await ada.settled((await ada.upload(title="bad", content=WATERFALL[:9000]))["id"])

    async def titles(query: str) -> list[str]:
        return [
            record["title"] for record in (await ada.client.get("/api/images?" + query)).json()
        ]

    assert await titles("tag=colour") == ["Blue", red["title"]]
    assert await titles("status=failed") == [bad["title"]]
    assert await titles("q=rED") == [red["title"]]
    assert await titles("q=0%25") == [red["title"]]
    assert await titles("q=a_b") == ["Blue"]
    assert await titles("q=a%25b") == []
    assert (await ada.client.get("/api/images?status=odd")).status_code == 422


async def test_an_idempotency_key_replays_the_first_answer(
    ada: Person, settings: Settings
) -> None:
    """The same key and upload give the same record and one image.

    Other content under the key is 422.
    """
    headers = {"Idempotency-Key": "one"}
    first = await ada.upload(headers=headers, title="a")
    assert await ada.upload(headers=headers, title="a") == first
    await ada.upload(headers=headers, title="b", expect=422)
    assert len((await ada.client.get("/api/images")).json()) == 1
    assert len(blobs(settings)) == 1


async def test_what_is_anothers_does_not_exist(ada: Person, bob: Person, workers: None) -> None:
    """Every operation on somebody else's image is a 404 like that of an image that never was."""
    record = await ada.settled((await ada.upload(description="one"))["id"])
    missing = f"/api/images/{record['id'] + 1000}"
    for url in (record["url"], missing):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/info", None),
            ("GET", "/renditions/original", None),
            ("PATCH", "", {"title": "x"}),
            ("PUT", "", {"title": "x", "description": "", "tags": []}),
            ("POST", "/retry", None),
            ("DELETE", "", None),
        ):
            answer = await bob.client.request(method, url + path, json=body)
            assert answer.status_code == 404, (method, path)
            assert answer.json()["type"].endswith("/not-found")
    assert (await ada.client.get(record["url"])).status_code == 200


async def test_leaving_takes_all_pictures_along(
    ada: Person, bob: Person, settings: Settings, database_url: str, workers: None
) -> None:
    """Deleting an account removes its images and files, announces each, and spares others."""
    mine = await ada.settled((await ada.upload(description="mine", tags="a,b"))["id"])
    kept = await bob.settled((await bob.upload())["id"])
    assert (await ada.client.delete(f"/api/users/{ada.id}")).status_code == 204
    assert (await ada.client.get("/api/images")).status_code == 401
    assert (await bob.client.get(kept["url"])).status_code == 200
    database = Database(database_url)
    rows = await database.fetch(
        "SELECT type, sequence, data::text FROM outbox WHERE subject = $1 ORDER BY id",
        f"images/{mine['id']}",
    )
    assert [(row["type"], row["sequence"]) for row in rows] == [
        ("image.created", 1),
        ("image.processed", 2),
        ("image.deleted", 3),
    ]
    assert json.loads(rows[2]["data"]) == json.loads(rows[1]["data"])
    await garbage.collect(database, DirectoryBlobs(settings.blobs_folder))
    await database.close()
    assert {path.relative_to(settings.blobs_folder).as_posix() for path in blobs(settings)} >= {
        kept["file_path"]
    }
    assert len(blobs(settings)) == 1 + len(kept["renditions"])


@pytest.mark.parametrize("image_id", ["0", "-1", "x", "9223372036854775808", "1.5"])
async def test_impossible_ids_are_client_errors(ada: Person, image_id: str) -> None:
    """An id that no image can have is never a 500."""
    assert (await ada.client.get(f"/api/images/{image_id}/info")).status_code in (404, 422)
