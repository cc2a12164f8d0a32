"""The library of a space: lists by filters and dates, tags with counts."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from atelier.images.columns import grid
from atelier.images.listing import Date, Filters, Sort, statement
from atelier.images.records import COLUMNS
from atelier.wire import cursors
from atelier.wire.moments import microseconds, moment
from tests.images.library.pictures import DAY, MANY, Person, add

if TYPE_CHECKING:
    from fastapi import FastAPI

    from atelier.database import Database

SPACE = "INSERT INTO spaces (name, created_at) VALUES ('Team', now()) RETURNING id"


async def shelf(database: Database, space_id: int) -> list[int]:
    """Five pictures, in order of their ids."""
    facts: list[dict[str, Any]] = [
        {"tags": ("a",), "day": 2, "taken_at": "2011-09-03T12:30:01+02:00"},
        {"tags": ("a", "b"), "day": 1, "format": "PNG"},
        {"tags": ("b",), "day": 3, "status": "failed", "taken_at": "2026-01-03T13:00:00"},
        {"title": "Sunset", "day": 3, "taken_at": "2012-02-30T00:00:00"},
        {"tags": ("a", "b", "c"), "day": 5, "status": "queued", "taken_at": "1999-13-01T00:00:00"},
    ]
    return [await add(database, space_id, **each) for each in facts]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"sort": "oldest"}, [0, 1, 2, 3, 4]),
        ({"status": "ready"}, [3, 1, 0]),
        ({"format": "PNG"}, [1]),
        ({"tag": "a"}, [4, 1, 0]),
        ({"tag": "a", "sort": "oldest"}, [0, 1, 4]),
        ({"tag": ["b", "a", "b"]}, [4, 1]),
        ({"tag": ["a", "b", "c"]}, [4]),
        ({"tag": ["a", "none"]}, []),
        ({"tag": "b", "status": "failed"}, [2]),
        ({"q": "SUN"}, [3]),
        ({"from": DAY.format(2)}, [4, 3, 2, 0]),
        ({"from": DAY.format(2), "sort": "oldest"}, [0, 2, 3, 4]),
        ({"from": DAY.format(2), "to": DAY.format(3)}, [0]),
        ({"to": DAY.format(3), "tag": "b"}, [1]),
        ({"date": "taken"}, [4, 2, 1, 3, 0]),
        ({"date": "taken", "sort": "oldest"}, [0, 3, 1, 2, 4]),
        ({"date": "taken", "from": "2011-09-03T10:30:01Z", "to": "2012-03-01T00:00:01Z"}, [3, 0]),
        ({"date": "taken", "tag": "a", "status": "ready"}, [1, 0]),
    ],
    ids=str,
)
async def test_filters_narrow_and_dates_order(
    ada: Person, database: Database, params: dict[str, object], expected: list[int]
) -> None:
    """Also over pages of one, and the count is theirs.

    A picture without a date of its own, or with an impossible one, has that of its upload.
    """
    ids = await shelf(database, ada.id)
    assert [ids.index(each) for each in await ada.walk(limit=1, **params)] == expected
    assert [ids.index(each) for each in await ada.walk(**params)] == expected
    unsorted = {name: value for name, value in params.items() if name != "sort"}
    counted = await ada.get("/api/images/count", params=unsorted)
    assert counted.json() == {"count": len(expected), "exact": True}


@pytest.mark.parametrize(
    ("params", "loc"),
    [
        ({"sort": "title"}, "sort"),
        ({"date": "changed"}, "date"),
        ({"format": "SVG"}, "format"),
        ({"from": "2026-01-01"}, "from"),
        ({"to": "2026-01-01T00:00:00"}, "to"),
        ({"tag": ["x"] * 11}, "tag"),
        ({"tag": "x" * 101}, "tag"),
    ],
)
async def test_what_is_no_filter_is_invalid(
    ada: Person, params: dict[str, object], loc: str
) -> None:
    """The answer names it; counts take the same filters."""
    for path in ("/api/images", "/api/images/count"):
        answer = await ada.get(path, params=params)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["loc"][:2] == ["query", loc]


@pytest.mark.parametrize("position", [(2**62, 7), (-(2**63), -(2**63)), (5,)])
async def test_a_made_up_position_is_no_error_of_ours(
    ada: Person, position: tuple[int, ...]
) -> None:
    """A moment of no time is the nearest one; an id where a moment belongs is refused."""
    cursor = cursors.encode(position, ("/api/images", [("date", "taken")]))
    answer = await ada.get("/api/images", params={"date": "taken", "cursor": cursor})
    assert answer.status_code == (200 if len(position) == 2 else 422), answer.text


async def test_tags_are_counted(ada: Person, database: Database) -> None:
    """Through changes, moves and deletions; those of a space alone, the most frequent first."""
    ids = await shelf(database, ada.id)
    space = (await ada.post("/api/spaces", json={"name": "Team"})).json()

    async def tags(**params: object) -> dict[str, int]:
        answer = await ada.get("/api/tags", params=params)
        assert answer.status_code == 200, answer.text
        return {each["tag"]: each["count"] for each in answer.json()}

    assert list((await tags()).items()) == [("a", 3), ("b", 3), ("c", 1)]
    assert await tags(q="A") == {"a": 3}
    assert await tags(q="%") == {}
    assert await tags(limit=1) == {"a": 3}
    changed = await ada.patch(f"/api/images/{ids[0]}", json={"tags": ["c", "d"]})
    assert changed.status_code == 200
    assert await tags() == {"b": 3, "a": 2, "c": 2, "d": 1}
    await database.fetch("UPDATE images SET owner_id = $1 WHERE id = $2", space["id"], ids[1])
    assert (await tags(), await tags(space=space["id"])) == (
        {"b": 2, "c": 2, "a": 1, "d": 1},
        {"a": 1, "b": 1},
    )
    await database.fetch("DELETE FROM images WHERE id = any($1::bigint[])", ids)
    assert (await tags(), await tags(space=space["id"])) == ({}, {})
    assert (await ada.get("/api/tags", params={"space": 2**40})).status_code == 404


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2011-09-03T12:30:01", "2011-09-03T12:30:01Z"),
        ("2011-09-03T12:30:01-05:30", "2011-09-03T18:00:01Z"),
        ("2012-02-31T23:59:59", "2012-03-02T23:59:59Z"),
        ("1826-01-01T00:00:00", "1826-01-01T00:00:00Z"),
        *((said, None) for said in ("9999-12-31T23:59:59", "2011-09-03T24:00:00", "2011-09-03")),
        *((said, None) for said in ("2011-00-03T00:00:00", "2011-01-01T00:00:00Z", "", "x\n")),
    ],
)
async def test_when_a_picture_was_taken(
    database: Database, said: str, expected: str | None
) -> None:
    """What its file says, in UTC if it does not say where; else when it was uploaded."""
    uploaded = moment(DAY.format(1))
    [row] = await database.fetch(
        "SELECT image_taken_at($1::text::jsonb, $2) AS found",
        json.dumps({"exif": {"taken_at": said}}),
        uploaded,
    )
    assert row["found"] == (uploaded if expected is None else moment(expected))


LIGHT: dict[str, tuple[dict[str, Any], str]] = {
    "all": ({}, "ix_images_owner_id_id"),
    "a status": ({"status": "failed"}, "ix_images_owner_id_status_id"),
    "a format": ({"format": "TIFF"}, "ix_images_owner_id_format_id"),
    "a rare tag": ({"tags": ("few",)}, "pk_image_tags"),
    "a frequent tag": ({"tags": ("all",)}, "pk_image_tags"),
    "by upload": (
        {"since": moment(DAY.format(1))},
        "ix_images_owner_id_received_at_id",
    ),
    "by date": ({"date": Date.TAKEN}, "ix_images_owner_id_taken_at_id"),
}


@pytest.fixture(scope="module")
async def library(application: FastAPI) -> int:
    """A space of 3,000 pictures, beside one of as many."""
    database = application.state.resources.database
    space, other = [(await database.fetch(SPACE))[0]["id"] for _ in range(2)]
    for each in (space, other):
        await database.fetch(MANY, each, 3_000)
    await database.fetch("VACUUM ANALYZE images")
    await database.fetch("VACUUM ANALYZE image_tags")
    return int(space)


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("kind", LIGHT)
async def test_one_index_finds_a_page(
    database: Database, library: int, kind: str, sort: Sort
) -> None:
    """In its order: nothing is sorted, from the first page as from the middle."""
    facts, index = LIGHT[kind]
    filters = Filters(library, sort=sort, **facts)
    middle = (1_000_000,) if filters.by_id else (microseconds(moment(DAY.format(9))), 1_000_000)
    assert filters.is_light
    for position in (None, middle):
        query, values = statement(filters, COLUMNS, 51, position)
        plan = [row[0] for row in await database.fetch(f"EXPLAIN {query}", *values)]
        text = "\n".join(plan)
        assert index in text
        assert not any(word in text for word in ("Seq Scan on images", "Seq Scan on image_tags"))
        assert "Sort" not in text


def renditions(version: str) -> tuple[dict[str, str], ...]:
    """Those of a picture, as far as an index looks at them."""
    return tuple(
        {"name": name, "blob": f"images/3fa/{key}{'0' * 21}-{name}.jpg"}
        for name, key in (("100x100", "11111111"), ("500x500", version))
    )


async def test_the_index_has_all_pictures_in_columns(ada: Person, database: Database) -> None:
    """In the list's order, with the versions of one rendition and the months of its dates."""
    facts: list[dict[str, Any]] = [
        {"day": 1, "renditions": renditions("aaaaaaaa"), "taken_at": "2011-09-03T12:30:01"},
        {"day": 2, "status": "queued"},
        {"day": 3, "renditions": renditions("bbbbbbbb"), "tags": ("a",), "status": "failed"},
    ]
    ids = [await add(database, ada.id, **each) for each in facts]
    answer = await ada.get("/api/images/index")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "count": 3,
        "rendition": "500x500",
        "ids": [ids[2], ids[1] - ids[2], ids[0] - ids[1]],
        "widths": [640] * 3,
        "heights": [480] * 3,
        "statuses": "fqr",
        "versions": "bbbbbbbb--------aaaaaaaa",
        "months": [["2026-01", 3]],
    }
    taken = {"date": "taken", "sort": "oldest", "rendition": "100x100"}
    by_date = (await ada.get("/api/images/index", params=taken)).json()
    assert by_date["months"] == [["2011-09", 1], ["2026-01", 2]]
    assert by_date["versions"] == "11111111--------11111111"
    tagged = (await ada.get("/api/images/index", params={"tag": "a"})).json()
    assert (tagged["count"], tagged["ids"]) == (1, [ids[2]])
    none = (await ada.get("/api/images/index", params={"tag": "none"})).json()
    assert (none["count"], none["ids"], none["months"], none["versions"]) == (0, [], [], "")


async def test_a_large_index_goes_on_in_its_link(ada: Person, database: Database) -> None:
    """Its pages, read in batches, have each picture once; the link is the way to the next."""
    ids = [await add(database, ada.id, day=day) for day in range(1, 8)]
    for params in ({}, {"date": "taken"}):
        found: list[int] = []
        url, months = "/api/images/index", 0
        asked: dict[str, Any] = {"limit": 3} | params
        while url:
            answer = await ada.get(url, params=asked or None)
            page, asked = answer.json(), {}
            assert page["count"] <= 3
            found += itertools.accumulate(page["ids"])
            months += sum(number for _, number in page["months"])
            url = answer.links["next"]["url"] if "next" in answer.links else ""
        assert (found, months) == (ids[::-1], 7)


async def test_batches_are_joined(
    ada: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of several batches is that of one."""
    for day in range(1, 6):
        await add(database, ada.id, day=day)
    whole = (await ada.get("/api/images/index")).json()
    monkeypatch.setattr("atelier.images.columns.BATCH", 2)
    assert (await ada.get("/api/images/index")).json() == whole


async def test_an_index_is_compressed_and_asked_for_again(ada: Person, database: Database) -> None:
    """Each coding has its entity tag; 304 while nothing has changed, and the whole after that."""
    image_id = await add(database, ada.id)
    tags = {}
    for coding in ("gzip", "identity", "gzip;q=0, *"):
        headers = {"Accept-Encoding": coding}
        answer = await ada.get("/api/images/index", headers=headers)
        assert (answer.status_code, answer.json()["ids"]) == (200, [image_id])
        assert answer.headers.get("content-encoding") == ("gzip" if coding == "gzip" else None)
        assert answer.headers["vary"] == "accept-encoding"
        tags[coding] = answer.headers["etag"]
        again = await ada.get(
            "/api/images/index", headers=headers | {"If-None-Match": tags[coding]}
        )
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tags[coding]
    assert len(set(tags.values())) == 2
    await add(database, ada.id)
    answer = await ada.get("/api/images/index", headers={"If-None-Match": tags["gzip"]})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (("100x100", "500x500"), "500x500"),
        (("1000x1000", "300x200", "250x250"), "300x200"),
        (("100x900", "150x150"), "150x150"),
        ((), "original"),
    ],
)
def test_a_grid_takes_the_smallest_that_fills_a_tile(
    sizes: tuple[str, ...], expected: str
) -> None:
    """Whatever the order of the setting; where none does, the largest."""
    assert grid(sizes) == expected


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 100_001}, {"rendition": "a'b"}])
async def test_what_is_no_index_is_invalid(ada: Person, params: dict[str, object]) -> None:
    """422 for a limit or a name that is none."""
    assert (await ada.get("/api/images/index", params=params)).status_code == 422
