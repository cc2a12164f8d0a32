"""What a hand-out takes from: the tasks of a space, or those of one of its queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

SPACE, QUEUE = "owner_id", "queue_id"  # the columns of `tasks` by which pools are found
POOLS = (SPACE, QUEUE)


class Pool(NamedTuple):
    """The tasks that have one value in one of these columns."""

    column: str
    id: int


def pools_of(row: Mapping[str, Any]) -> list[Pool]:
    """The pools that a task is in."""
    found = [Pool(SPACE, row[SPACE])]
    return found if row[QUEUE] is None else [*found, Pool(QUEUE, row[QUEUE])]
