"""How much one space may keep: objects and bytes of pictures, tasks and files together.

What is in the trash counts until it is purged.

The statements, for any driver, and the judgement. What each space has is counted in the table
`owner_usage` by triggers on their tables and the trash's, in the transaction of each row; a
space's counting begins with the first upload under a quota, so without quotas the table is empty.
Renditions are not counted: the program makes them, and may make others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atelier.errors import Forbidden

# Parameters stand in braces, for each driver spells them otherwise.
USAGE = "SELECT objects, bytes FROM owner_usage WHERE owner_id = {owner}"
# The steps by which a space's counting begins, in a transaction of their own: rows may be many.
PATIENCE = "SET LOCAL statement_timeout = '5min'"
# Whoever inserts a row of this space holds a lock on the space's row that this one waits for.
STOP_INSERTS = "SELECT id FROM spaces WHERE id = {owner} FOR UPDATE"
# A row that is being deleted must not be counted, for its trigger has run, or runs after this
# commit. So they are locked first; who deletes has been waited for then.
STOP_DELETIONS = """
WITH of_images AS MATERIALIZED (SELECT FROM images WHERE owner_id = {owner} FOR KEY SHARE),
    of_tasks AS MATERIALIZED (SELECT FROM tasks WHERE owner_id = {owner} FOR KEY SHARE),
    of_files AS MATERIALIZED (SELECT FROM files WHERE owner_id = {owner} FOR KEY SHARE)
SELECT (SELECT count(*) FROM of_images), (SELECT count(*) FROM of_tasks),
    (SELECT count(*) FROM of_files)
"""
# In a statement of its own, which sees in the trash what was deleted just before.
COUNT = """
WITH of_trash AS (SELECT size FROM trash WHERE owner_id = {owner} FOR KEY SHARE)
INSERT INTO owner_usage (owner_id, objects, bytes)
SELECT spaces.id, count(size), coalesce(sum(size), 0)
FROM spaces LEFT JOIN (
    SELECT size FROM images WHERE owner_id = {owner}
    UNION ALL SELECT size FROM tasks WHERE owner_id = {owner}
    UNION ALL SELECT size FROM files WHERE owner_id = {owner}
    UNION ALL SELECT size FROM of_trash
) AS kept ON true
WHERE spaces.id = {owner} GROUP BY spaces.id
ON CONFLICT (owner_id) DO NOTHING
"""
# The first steps of a move: nobody begins to count one of these spaces, or deletes it, meanwhile.
HOLD = "SELECT id FROM spaces WHERE id = ANY({spaces}) ORDER BY id FOR KEY SHARE"
# When the rows that move are locked: in one order, so that moves between the same spaces do not
# wait for each other in a circle.
TURN = "SELECT FROM owner_usage WHERE owner_id = ANY({spaces}) ORDER BY owner_id FOR UPDATE"
# Before an account's rows are deleted: its triggers would count down what goes with it, and wait
# for whoever deletes a row of it, who waits for this transaction.
FORGET = "SELECT set_config('atelier.forgetting', 'on', true)"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one space may keep; None: any number."""

    objects: int | None = None
    bytes: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to judge."""
        return self.objects is not None or self.bytes is not None

    def require_room(self, used: Mapping[str, Any], size: int) -> None:
        """Judge whether one more object of `size` bytes fits beside what is `used`.

        Raises Forbidden, `quota-exceeded`.
        """
        self._judge(int(used["objects"]), int(used["bytes"]), size)

    def confirm(self, used: Mapping[str, Any], size: int, number: int = 1) -> None:
        """Judge `used` with `number` new objects of `size` bytes in it.

        The exact check, in the transaction of the objects. Raises Forbidden, `quota-exceeded`.
        """
        self._judge(int(used["objects"]) - number, int(used["bytes"]) - size, size, number)

    def _judge(self, objects: int, taken: int, size: int, number: int = 1) -> None:
        if self.objects is not None and objects + number > self.objects:
            raise Forbidden(
                f"There are {objects} of the {self.objects} pictures, tasks and files that one "
                "space may keep. Delete what you no longer need, and purge it from the trash.",
                slug="quota-exceeded",
            )
        if self.bytes is not None and taken + size > self.bytes:
            raise Forbidden(
                f"There are {taken} of the {self.bytes} bytes that one space may keep; "
                f"this needs {size} more. Delete what you no longer need, and purge it from the "
                "trash.",
                slug="quota-exceeded",
            )
