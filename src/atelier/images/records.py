"""The JSON record of a picture, and the compact form in which the cache keeps it.

Hot reads come here with a driver row and leave with ready bytes; the ORM is not involved.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import orjson

from atelier.http.encoding import dumps
from atelier.images.models import Image
from atelier.wire.spaces import MAKER, shown_maker

NAMES = [
    "id",
    "owner_id",
    "created_by",
    "title",
    "description",
    "tags",
    "blob",
    "format",
    "media_type",
    "width",
    "height",
    "size",
    "sha256",
    "metadata",
    "status",
    "error",
    "renditions",
    "version",
    "sequence",
    "received_at",
    "updated_at",
]
# Who made a picture. A row from before there were teams does not say it: in a person's own space
# it was that person. Where the row says it, nothing is looked up.
COLUMNS = ", ".join(f"{MAKER} AS created_by" if name == "created_by" else name for name in NAMES)
SELECT_ONE = f"SELECT {COLUMNS} FROM images WHERE id = any($1::bigint[])"
MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png"}
FAVOURITES = (
    "captioned",
    "upright",
    "original",
)  # what `GET /api/images/{id}` serves: the first of these that exists
VERSION = 8  # characters
HIDDEN = frozenset({"blob"})
MISSING = "There is no such image."  # said to strangers, too


class Picture(msgspec.Struct, frozen=True, array_like=True):
    """One servable file of an image."""

    name: str
    blob: str
    media_type: str
    size: int

    @property
    def etag(self) -> str:
        """What stands for the content: see `digest`."""
        return digest(self.blob)

    @property
    def version(self) -> str:
        """What its address names."""
        return version(self.blob)


class Cached(msgspec.Struct, frozen=True, array_like=True):
    """The facts that a read needs: the space, the record as ready JSON, and the files.

    The record is the same for all who may see it. `owner_id` is the space.
    """

    owner_id: int
    sequence: int
    status: str
    error: str
    title: str
    updated_at: datetime
    record: bytes
    pictures: dict[str, Picture]

    @property
    def etag(self) -> str:
        """The record's strong entity tag, without quotes."""
        return str(self.sequence)

    def favourite(self) -> Picture:
        """The processed picture: captioned, else upright, else the original, which is upright."""
        return next(self.pictures[name] for name in FAVOURITES if name in self.pictures)

    @property
    def rendered(self) -> bool:
        """True if any rendition can be served, of this version or the one before."""
        return len(self.pictures) > 1


def digest(blob: str) -> str:
    """The random part of a key stands for the content: blobs never change under their key."""
    return blob.rpartition("/")[2].partition("-")[0]


def version(blob: str) -> str:
    """What names a file of a picture in its address: the beginning of the digest.

    It is as short as it can be, for the index of a library has one for each picture.
    """
    return digest(blob)[:VERSION]


def cache_key(image_id: int) -> str:
    """The cache key of an image's `Cached`."""
    return f"image:{image_id}"


def record(row: Any) -> dict[str, Any]:
    """The JSON record of the contract; `row` holds `COLUMNS`, JSON columns as text."""
    url = f"/api/images/{row['id']}"
    renditions = orjson.loads(row["renditions"])
    return {
        "id": row["id"],
        "space_id": row["owner_id"],
        "created_by": row["created_by"],
        "title": row["title"],
        "description": row["description"],
        "tags": row["tags"],
        "file_path": row["blob"],
        "uploaded_at": row["received_at"],
        "received_at": row["received_at"],
        "format": row["format"],
        "resolution": f"{row['width']}x{row['height']}",
        "width": row["width"],
        "height": row["height"],
        "size": row["size"],
        "sha256": row["sha256"],
        "status": row["status"],
        "error": row["error"] and orjson.Fragment(row["error"]),
        "metadata": orjson.Fragment(row["metadata"]),
        "renditions": [
            {key: value for key, value in r.items() if key not in HIDDEN}
            | {"url": f"{url}/renditions/{r['name']}?v={version(r['blob'])}"}
            for r in renditions
        ],
        "url": url,
    }


def row_of(image: Image) -> dict[str, Any]:
    """An ORM object in the form of a driver row."""
    row = {name: getattr(image, name) for name in NAMES if name != "metadata"}
    return row | {
        "created_by": shown_maker(image.created_by),
        "metadata": orjson.dumps(image.details),
        "renditions": orjson.dumps(image.renditions),
        "error": image.error and orjson.dumps(image.error),
    }


def cached(row: Any) -> Cached:
    """The compact form of `row`."""
    files = [Picture("original", row["blob"], row["media_type"], row["size"])]
    files += [
        Picture(r["name"], r["blob"], MEDIA_TYPES[r["format"]], r["size"])
        for r in orjson.loads(row["renditions"])
    ]
    error = orjson.loads(row["error"]) if row["error"] else {}
    return Cached(
        owner_id=row["owner_id"],
        sequence=row["sequence"],
        status=row["status"],
        error=error.get("detail", ""),
        title=row["title"],
        updated_at=row["updated_at"],
        record=dumps(record(row)),
        pictures={picture.name: picture for picture in files},
    )


encode_cached = msgspec.msgpack.Encoder().encode
decode_cached = msgspec.msgpack.Decoder(Cached).decode

# The blobs that rows refer to, for `atelier check`; only originals have a digest to compare with.
REFERENCED = """
    SELECT blob AS key, sha256 FROM images
    UNION ALL
    SELECT rendition ->> 'blob', NULL FROM images, jsonb_array_elements(renditions) AS rendition
"""
