"""Who made the pictures whose rows are older than teams and do not say it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.images.models import Image

_OWN = text("SELECT id, user_id FROM spaces WHERE id = any(:spaces) AND user_id IS NOT NULL")


async def fill_in(session: AsyncSession, images: Collection[Image]) -> None:
    """Write into rows that are about to change what `wire.spaces.MAKER` reads of them.

    The event and the answer then say the same as later reads. In a team's space nothing is
    written: that reads as a maker who has left.
    """
    unknown = [image for image in images if image.created_by is None]
    if not unknown:
        return
    spaces = {image.owner_id for image in unknown}
    found = await session.execute(_OWN, {"spaces": list(spaces)})
    people = {row.id: row.user_id for row in found}
    for image in unknown:
        image.created_by = people.get(image.owner_id)
