"""SQL on the table `files` for processes without Django."""

from __future__ import annotations

from atelier.wire import trash
from atelier.wire.spaces import GONE, MAKER
from atelier.wire.trash import Kind

# The blobs that rows refer to, for `atelier check`; only originals have a digest to compare with.
REFERENCED = """
    SELECT file AS key, sha256 FROM files
    UNION ALL
    SELECT thumbnail, NULL FROM files WHERE thumbnail IS NOT NULL
"""

# Queues again files whose thumbnails are missing ($1) while their originals exist:
# `service.retry`, for many.
LOOK_ANEW = """
    UPDATE files
    SET status = 'queued', processed = false, error = NULL, attempts = 0, version = version + 1,
        taken_at = NULL, updated_at = clock_timestamp(), offered_at = clock_timestamp()
    WHERE thumbnail = any($1::text[]) AND NOT file = any($1::text[])
    RETURNING id
"""

# The facts of an event about a row of `files`, as `events.state` has them.
_STATE = f"""
    jsonb_build_object(
        'id', id, 'owner_id', owner_id, 'space_id', owner_id, 'created_by', {MAKER},
        'name', name, 'content_type', content_type, 'kind', kind, 'size', size,
        'sha256', sha256, 'status', status, 'version', version, 'error', error
    )
"""
_ANNOUNCE = "INSERT INTO outbox (type, subject, sequence, data, space_id, actor)"

# Deletes every file of one space with its event, and leaves the blobs to the collector, in one
# statement.
FORGET = f"""
    WITH gone AS (
        DELETE FROM files WHERE owner_id = :owner_id RETURNING *
    ), announced AS (
        {_ANNOUNCE}
        SELECT 'file.deleted', 'files/' || id, sequence + 1, {_STATE}, owner_id, :actor
        FROM gone ORDER BY id
    )
    INSERT INTO blob_garbage (key, after, intent)
    SELECT key, clock_timestamp() + interval '10 seconds', false
    FROM gone, unnest(ARRAY[file, thumbnail]) AS key WHERE key IS NOT NULL
    ON CONFLICT (key) DO UPDATE SET after = least(blob_garbage.after, excluded.after)
"""

# Takes a leaving user's name off the files that stay in teams' spaces.
DISOWN = f"""
    UPDATE files SET created_by = {GONE} WHERE id IN (
        SELECT id FROM files
        WHERE created_by = :user_id AND (created_by < owner_id OR created_by > owner_id)
        ORDER BY id FOR NO KEY UPDATE
    )
"""

# Puts a file into the trash; its event is the caller's.
KEEP = f"""
    WITH gone AS (DELETE FROM files WHERE id = %s RETURNING *)
    {trash.kept(Kind.FILE, "%s", title="name", blobs="array_remove(ARRAY[file, thumbnail], NULL)")}
"""

COLUMNS = (
    *("id", "owner_id", "created_by", "file", "thumbnail", "name", "content_type", "kind", "size"),
    *("sha256", "processed", "status", "result", "error", "version", "sequence", "attempts"),
    *("uploaded_at", "updated_at", "offered_at", "taken_at"),
)
# Restores files from the trash; one that was waiting to be processed is offered anew.
RESTORE = f"""
    WITH taken_out AS (
        {trash.TAKEN_OUT.format(kind=Kind.FILE, ids=":ids")}
    ), restored AS (
        INSERT INTO files ({", ".join(COLUMNS)}) OVERRIDING SYSTEM VALUE
        SELECT {", ".join(f"row.{name}" for name in COLUMNS)}
        FROM taken_out CROSS JOIN LATERAL jsonb_populate_record(
            CAST(NULL AS files),
            content || {trash.RENEWED} || jsonb_build_object(
                'taken_at', NULL, 'updated_at', clock_timestamp(), 'offered_at', clock_timestamp()
            )
        ) AS row
        RETURNING *
    )
    {_ANNOUNCE}
    SELECT 'file.restored', 'files/' || id, sequence, {_STATE}, owner_id, :actor
    FROM restored ORDER BY id
"""
