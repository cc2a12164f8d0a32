"""`atelier check --repair`: repairs the findings that can be repaired.

Rows whose originals are missing are left to the operator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from atelier import bootstrap
from atelier.blobs import garbage
from atelier.cache import Cache
from atelier.database import Database
from atelier.files import statements as files
from atelier.images import service as images
from atelier.settings import Settings
from atelier.tasks import views

# Names that Atelier itself gives its blobs (`new_key`); any other file in the store was put there
# by people, and is left to them.
_OURS = re.compile(r"(images|tasks|files)/[0-9a-f]{3}/[0-9a-f]{29}-[a-z0-9._-]+")
CHUNK = 1000  # keys of one transaction


@dataclass(frozen=True)
class Mended:
    """The numbers of what was repaired."""

    images: int
    files: int
    orphans: int
    views: int = 0

    def __str__(self) -> str:
        return (
            f"mended: {self.images} images and {self.files} files are queued anew, "
            f"{self.views} views are made when they are asked for, "
            f"{self.orphans} orphans are garbage"
        )


async def repair(
    settings: Settings, database: Database, *, missing: Sequence[str], orphaned: Sequence[str]
) -> Mended:
    """Queue again what can be rendered from its original, and discard orphans."""
    redis = bootstrap.open_redis(settings)
    cache = Cache(redis)
    try:
        queued = await images.render_anew(database, cache, missing) if missing else 0
    finally:
        await cache.close()
        await redis.aclose()
    looked = await database.fetch(files.LOOK_ANEW, missing) if missing else []
    forgotten = await views.drop_lost(database, missing) if missing else 0
    orphans = [key for key in orphaned if _OURS.fullmatch(key)]
    for start in range(0, len(orphans), CHUNK):
        async with database.session() as session:
            await garbage.discard(session, orphans[start : start + CHUNK])
            await session.commit()
    return Mended(queued, len(looked), len(orphans), forgotten)
