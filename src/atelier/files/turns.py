"""Whose file a worker takes next: that of the owner with the fewest at work, in turn.

A job says that a worker is free, and names a file. Where another owner waits who has fewer files
at work, that owner's oldest comes first, and the named one goes to the end of the queue.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import connection

from atelier.files import celery_app, django_setup
from atelier.files.models import File

# Owners who wait that are compared; those behind them have their turn later.
OWNERS = 32
# A file is at work until its job must have ended, or its worker has died.
_ENDED = "now() - %(limit)s * interval '1 s'"
_WAITS = f"status = 'queued' AND (taken_at IS NULL OR taken_at <= {_ENDED})"
_NEXT = f"SELECT owner_id FROM files AS f WHERE {_WAITS}"
# Walks from owner to owner along the index of files that wait: a backlog of any length costs the
# same. `first` ends the walk when it has come round.
_TURN = f"""
    WITH RECURSIVE working AS (
        SELECT owner_id, count(*) AS files FROM files
        WHERE status = 'queued' AND taken_at > {_ENDED}
        GROUP BY owner_id
    ), ring (step, owner_id, first) AS (
        SELECT 0, %(last)s::bigint, NULL::bigint
        UNION ALL
        SELECT ring.step + 1, following.owner_id, coalesce(ring.first, following.owner_id)
        FROM ring, LATERAL (
            SELECT coalesce(
                ({_NEXT} AND f.owner_id > ring.owner_id ORDER BY owner_id LIMIT 1),
                ({_NEXT} ORDER BY owner_id LIMIT 1)
            ) AS owner_id
        ) AS following
        WHERE ring.step < {OWNERS} AND following.owner_id IS DISTINCT FROM ring.first
            AND following.owner_id IS NOT NULL
    )
    SELECT
        (SELECT owner_id FROM files WHERE id = %(id)s AND version = %(version)s
            AND status = 'queued'),
        (SELECT owner_id FROM ring LEFT JOIN working USING (owner_id) WHERE step > 0
            ORDER BY coalesce(working.files, 0), step LIMIT 1)
"""
# A crash of the database may forget an attempt, so its count does not wait for the disk.
_TAKE = """
    WITH lazily AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    UPDATE files SET attempts = attempts + 1, taken_at = now() FROM lazily WHERE {which}
    RETURNING files.*
"""
_TAKE_NAMED = _TAKE.format(
    which=f"""id = %(id)s AND version = %(version)s AND status = 'queued'
    AND (%(again)s OR {_WAITS})"""
)
_TAKE_OLDEST = _TAKE.format(
    which=f"""id = (
        SELECT id FROM files AS f WHERE owner_id = %(owner)s AND {_WAITS}
        ORDER BY offered_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )"""
)
_last: list[int] = [0]  # the owner whom this process served last


class Turn(NamedTuple):
    """The file that was taken, if any, and whether the named one waits for another turn."""

    file: File | None
    later: bool = False


def take(file_id: int, version: int, *, again: bool) -> Turn:
    """Take the file whose turn it is, and count an attempt.

    `again`: the job was sent before, so that the worker that took the file may be dead.
    """
    named = {"id": file_id, "version": version, "limit": _limit()}
    with connection.cursor() as cursor:
        cursor.execute(_TURN, named | {"last": _last[0]})
        owner, fairest = cursor.fetchone()
    if owner is None:
        return Turn(None)
    if fairest not in (None, owner):
        other = _taken(_TAKE_OLDEST, named | {"owner": fairest})
        if other is not None:
            return Turn(other, later=True)
    return Turn(_taken(_TAKE_NAMED, named | {"again": again}))


def _taken(statement: str, values: dict[str, Any]) -> File | None:
    found: list[File] = list(File.objects.raw(statement, values))
    for file in found:
        _last[0] = file.owner_id
    return found[0] if found else None


def _limit() -> int:
    """Seconds after which a job has ended, whatever became of it."""
    return (
        django_setup.context().settings.decode_seconds
        + celery_app.SOFT_SECONDS
        + celery_app.HARD_SECONDS
    )
