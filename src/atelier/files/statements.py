"""SQL on the table `files` for processes without Django."""

from __future__ import annotations

from atelier.wire.spaces import GONE, MAKER

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

# Deletes every file of one space with its event, and leaves the blobs to the collector, in one
# statement.
FORGET = f"""
    WITH gone AS (
        DELETE FROM files WHERE owner_id = :owner_id RETURNING *
    ), announced AS (
        INSERT INTO outbox (type, subject, sequence, data, space_id, actor)
        SELECT 'file.deleted', 'files/' || id, sequence + 1, jsonb_build_object(
            'id', id, 'owner_id', owner_id, 'space_id', owner_id, 'created_by', {MAKER},
            'name', name, 'content_type', content_type, 'kind', kind, 'size', size,
            'sha256', sha256, 'status', status, 'version', version, 'error', error
        ), owner_id, :actor FROM gone ORDER BY id
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
