"""The export of pictures: lines, and archives that every reader takes."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from stream_zip import CRC32IntegrityError

from atelier.blobs import new_key
from atelier.http import exporting
from atelier.http.csv_lines import BOM
from atelier.images.archive_zip import Member, member_name, zipped
from atelier.images.export import HEADER
from atelier.images.records import Picture
from atelier.wire.moments import moment
from tests.images.library.pictures import DAY, Person, add

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atelier.database import Database
    from atelier.http.resources import Resources

URL = "/api/images/export"


async def rows(person: Person, **params: object) -> list[dict[str, str]]:
    """The rows of a CSV, by columns."""
    answer = await person.get(URL, params=params)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


async def test_lines_are_what_the_records_say(ada: Person, database: Database) -> None:
    """Lowest id first; nothing in a CSV is a formula; JSON Lines are the records themselves."""
    ids = [
        await add(
            database, ada.id, title="=1+1", tags=("+a", "b"), taken_at="2011-09-03T12:30:01"
        ),
        await add(database, ada.id, description="a\nb", day=2),
    ]
    first, second = await rows(ada)
    assert list(first) == list(HEADER)
    assert (first["title"], first["tags"], first["taken_at"]) == (
        "'=1+1",
        "'+a; b",
        "2011-09-03T12:30:01",
    )
    assert (first["uploaded_at"], first["sha256"]) == ("2026-01-01T12:00:00Z", "")
    assert (second["description"], second["taken_at"], int(second["id"])) == ("a\nb", "", ids[1])
    answer = await ada.get(URL, params={"format": "jsonl"})
    assert answer.headers["content-type"] == "application/jsonl"
    records = [(await ada.get(f"/api/images/{each}/info")).content for each in ids]
    assert answer.content == b"".join(each + b"\n" for each in records)
    named = answer.headers["content-disposition"]
    assert f'attachment; filename="images-{ada.id}-' in named
    assert (await ada.get(URL, params={"bom": True})).text.startswith(BOM)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"tag": ["a", "b"]}, [2]),
        ({"tag": "a", "status": "ready"}, [0, 2]),
        ({"original": "PNG"}, [1]),
        ({"q": "sun"}, [1]),
        ({"from": DAY.format(2), "to": DAY.format(3)}, [1]),
        ({"date": "taken", "to": "2012-01-01T00:00:00Z"}, [0]),
        ({"tag": "none"}, []),
    ],
    ids=str,
)
async def test_filters_choose(
    ada: Person,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    params: dict[str, object],
    expected: list[int],
) -> None:
    """As those of lists do, whatever the size of batches."""
    ids = [
        await add(database, ada.id, tags=("a",), taken_at="2011-09-03T12:30:01"),
        await add(database, ada.id, title="Sunset", format="PNG", day=2),
        await add(database, ada.id, tags=("b", "a"), day=3),
    ]
    monkeypatch.setattr("atelier.images.export.BATCH", 1)
    assert [ids.index(int(row["id"])) for row in await rows(ada, **params)] == expected


async def test_pictures_are_named_by_ids(ada: Person, bob: Person, database: Database) -> None:
    """404 if one of them is not in the space."""
    ids = [await add(database, ada.id) for _ in range(3)]
    theirs = await add(database, bob.id)
    assert [int(row["id"]) for row in await rows(ada, id=[ids[2], ids[0], ids[2]])] == [
        ids[0],
        ids[2],
    ]
    for missing in (theirs, 2**62):
        assert (await ada.get(URL, params={"id": [ids[0], missing]})).status_code == 404


async def stored(
    resources: Resources, person: Person, content: bytes, title: str, **more: Any
) -> int:
    """A picture with a file in the store."""
    key = new_key("images", "original.jpg")
    await resources.blobs.put(key, content)
    image_id = await add(resources.database, person.id, title=title, **more)
    await resources.database.fetch("UPDATE images SET blob = $1 WHERE id = $2", key, image_id)
    return image_id


async def test_an_archive_has_the_files_and_a_manifest(
    ada: Person, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte by byte, under names that differ, with length and CRC before the bytes."""
    monkeypatch.setattr("atelier.images.archive_zip.KEPT_BYTES", 300_000)
    contents = {"a.jpg": b"one", "A.JPG": bytes(700_000), 'b/../\\:*?"<>|.jpg': b"", "": b"4"}
    ids = [await stored(resources, ada, each, title) for title, each in contents.items()]
    gone = await add(resources.database, ada.id, title="gone")
    answer = await ada.get(URL, params={"format": "zip"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == [
            f"a-{ids[0]}.jpg",
            f"A-{ids[1]}.jpg",
            f"b-{ids[2]}.jpg",
            f"image-{ids[3]}.jpg",
            "manifest.csv",
        ]
        for name, content in zip(names, contents.values(), strict=False):
            info = archive.getinfo(name)
            assert (archive.read(name), info.compress_type) == (content, zipfile.ZIP_STORED)
            assert not info.flag_bits & 0x08  # no data descriptor
        manifest = csv.DictReader(io.StringIO(archive.read("manifest.csv").decode(), newline=""))
        assert [(int(row["id"]), row["file"]) for row in manifest] == [
            *zip(ids, names, strict=False),
            (gone, ""),
        ]


async def test_an_archive_of_renditions(ada: Person, resources: Resources) -> None:
    """Those that have it; the others are in the manifest alone."""
    key = new_key("images", "500x500.png")
    await resources.blobs.put(key, b"small")
    made = ({"name": "500x500", "format": "PNG", "size": 5, "blob": key},)
    first = await add(resources.database, ada.id, title="x.jpg", renditions=made)
    await add(resources.database, ada.id)
    answer = await ada.get(URL, params={"format": "zip", "rendition": "500x500"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == [f"x.jpg-{first}.png", "manifest.csv"]
        assert archive.read(f"x.jpg-{first}.png") == b"small"
        assert len(archive.read("manifest.csv").splitlines()) == 3


@pytest.mark.parametrize(
    "params",
    [
        {"format": "xml"},
        {"bom": True, "format": "zip"},
        {"rendition": "gray"},
        {"rendition": "../x", "format": "zip"},
        {"id": [1] * 501},
        {"id": 0},
        {"sort": "oldest"},
    ],
    ids=lambda params: str(params)[:40],
)
async def test_what_is_no_export_is_invalid(ada: Person, params: dict[str, Any]) -> None:
    """422, before anything is sent."""
    assert (await ada.get(URL, params=params)).status_code == 422


async def test_an_archive_of_too_many_is_refused(
    ada: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory would not fit into memory; lines have no such limit."""
    for _ in range(3):
        await add(database, ada.id)
    monkeypatch.setattr("atelier.images.queries.COUNTED", 2)
    assert (await ada.get(URL, params={"format": "zip"})).status_code == 422
    assert len(await rows(ada)) == 3


async def test_it_ends_with_the_right(
    ada: Person, bob: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member who is removed meanwhile gets no end of the file."""
    monkeypatch.setattr(exporting, "CHECK_SECONDS", -1.0)
    monkeypatch.setattr("atelier.images.export_routes.SLICE", 1)
    for _ in range(3):
        await add(database, ada.id)
    assert len(await rows(ada)) == 3
    monkeypatch.setattr(exporting, "require", _refuse)
    answer = await ada.get(URL)
    assert (answer.status_code, answer.json()["detail"]) == (404, "gone")


def _refuse(*_: object) -> None:
    from atelier.errors import NotFound

    raise NotFound("gone")


async def test_a_large_archive_is_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first entry that might not fit on; those before it are as old readers want them."""
    monkeypatch.setattr("atelier.images.archive_zip._ENTRIES_32", 2)

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"x"

    async def members() -> AsyncGenerator[Member, None]:
        for number in range(3):
            yield Member(f"{number}", moment(DAY.format(1)), 1, 0x8CDC1683, pieces())

    content = b"".join([piece async for piece in zipped(members())])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert [each.extract_version for each in archive.infolist()] == [20, 45, 45]
        assert archive.infolist()[0].date_time == (2026, 1, 1, 12, 0, 0)


async def test_a_file_that_is_not_what_it_was_ends_the_archive() -> None:
    """It must not look whole."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"y"

    async def members() -> AsyncGenerator[Member, None]:
        yield Member("a", moment(DAY.format(1)), 1, 0x8CDC1683, pieces())

    with pytest.raises(CRC32IntegrityError):
        [piece async for piece in zipped(members())]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Crossing", "Crossing-7.jpg"),
        ("IMG_1.JPG", "IMG_1-7.jpg"),
        ("CON", "CON-7.jpg"),
        ("..", "image-7.jpg"),
        ("мост ночью", "мост-ночью-7.jpg"),
        ("a. ", "a-7.jpg"),
        ("x" * 300, "x" * 80 + "-7.jpg"),
        ("a\x00b\x1f", "a-b-7.jpg"),
    ],
)
def test_names_are_safe_on_any_system(title: str, expected: str) -> None:
    """No device, no folder, no character that Windows refuses."""
    picture = Picture("original", "images/3fa/0-original.jpg", "image/jpeg", 1)
    assert member_name(title, 7, picture) == expected
