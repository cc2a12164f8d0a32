"""The statements on `blob_garbage`, for SQLAlchemy's connections and Django's alike.

Imports no framework. Braces take the driver's placeholders: an array of keys, and for an intent
how long it holds. Times are the database's: the clock of an API may be an hour off.
"""

from __future__ import annotations

from atelier.locks import BLOB_REMOVAL

READERS_SECONDS = 10  # a reader that has just read the row can still read the blob for this long

# The collector asks for the lock *after* the commit that discarded the blobs: a backup that begins
# later sees that commit, so the lock need not be held while the blobs are deleted.
MAY_REMOVE = f"SELECT pg_try_advisory_xact_lock_shared({BLOB_REMOVAL})"

INTEND = """
    INSERT INTO blob_garbage (key, after, intent)
    SELECT unnest({keys}::text[]), clock_timestamp() + {life}::interval, true
"""
# A claim reads the clock only once it holds the row's lock, and the collector locks only rows that
# are due: whichever comes second sees the row due or gone. A collector that died half-way leaves
# an intent that cannot be claimed any more.
CLAIM = """
    WITH locked AS MATERIALIZED (
        SELECT key, after FROM blob_garbage
        WHERE key = any({keys}) AND intent ORDER BY key FOR UPDATE
    )
    DELETE FROM blob_garbage USING locked
    WHERE blob_garbage.key = locked.key AND locked.after > clock_timestamp()
    RETURNING blob_garbage.key
"""
DISCARD = f"""
    INSERT INTO blob_garbage (key, after, intent)
    SELECT key, clock_timestamp() + interval '{READERS_SECONDS} seconds', false
    FROM (SELECT DISTINCT unnest({{keys}}::text[]) AS key) AS discarded
    ON CONFLICT (key) DO UPDATE SET after = least(blob_garbage.after, excluded.after)
"""
