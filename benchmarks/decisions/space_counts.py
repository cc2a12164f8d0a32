"""What `GET /api/spaces` costs in a space of many pictures and tasks: decision 144.

python -m benchmarks.decisions.space_counts [ROWS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from atelier.auth import Principal, Role
from atelier.commands.migrate import reach
from atelier.database import Database
from atelier.spaces import queries
from atelier.up.engines import start_postgres

ROWS = 1_000_000
LOOKS = 9
USER = """
    INSERT INTO users (email, email_folded, password_hash, sequence, created_at)
    VALUES ('a', 'a', '', 1, now()) RETURNING id
"""
# As wide as rows of photographs with three renditions.
IMAGES = """
    INSERT INTO images (owner_id, created_by, title, description, tags, blob, format, media_type,
        width, height, size, sha256, metadata, status, error, renditions, version, sequence,
        received_at, updated_at, offered_at)
    SELECT %(space)s, %(space)s, 'IMG_' || n, '', '{}', repeat('k', 60) || n, 'JPEG', 'image/jpeg',
        4000, 3000, 1000 + n %% 7, repeat('0', 64),
        jsonb_build_object('camera', repeat('c', 150)), 'ready', NULL,
        jsonb_build_array(repeat('r', 400)), 1, 2, now(), now(), now()
    FROM generate_series(1, %(rows)s) AS n
"""
TASKS = """
    INSERT INTO tasks (owner_id, created_by, meta, free, blob, format, media_type, size, sha256,
        sequence, created_at)
    SELECT %(space)s, %(space)s, 'm', n %% 3 > 0, repeat('k', 60) || n, 'JPEG', 'image/jpeg', 1000,
        repeat('0', 64), 1, now()
    FROM generate_series(1, %(rows)s) AS n
"""


def timed(what: str, look: Callable[[], Any]) -> Any:
    """Print the median of some looks; what the last one found."""
    took, found = [], None
    for _ in range(LOOKS):
        began = time.perf_counter()
        found = look()
        took.append(time.perf_counter() - began)
    print(f"{what}: {statistics.median(took) * 1000:.1f} ms ({min(took) * 1000:.1f} at best)")
    return found


def main(rows: int) -> None:
    """Fill one space and count it."""
    with tempfile.TemporaryDirectory(prefix="atelier-counts-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        engine = start_postgres(Path(folder) / "postgres", durable=False)
        try:
            reach(engine.url)
            with psycopg.connect(engine.url, autocommit=True) as connection:
                row = connection.execute(USER).fetchone()
                assert row
                values = {"space": row[0], "rows": rows}
                for table, statement in (("images", IMAGES), ("tasks", TASKS)):
                    began = time.perf_counter()
                    connection.execute(statement, values)
                    print(f"{rows} {table}: {time.perf_counter() - began:.1f} s")
                    connection.execute(f"VACUUM ANALYZE {table}")
                measure(engine.url, connection, row[0])
        finally:
            engine.stop()


def measure(url: str, connection: psycopg.Connection[Any], space: int) -> None:
    """Look by the program's own query, and by parts of it."""
    principal = Principal(space, "s", roles={space: Role.OWNER})
    with asyncio.Runner() as runner:
        database = Database(url)

        def page() -> Any:
            return runner.run(queries.page(database, principal, before=None, limit=51))

        print(timed("GET /api/spaces, its query", page))
        for name, statement in PARTS.items():
            timed(name, lambda s=statement: connection.execute(s, [space]).fetchone())
        for statement in BEFORE:
            connection.execute(statement)
        for table in ("images", "tasks"):
            connection.execute(f"VACUUM ANALYZE {table}")
        timed("the query with the indexes of before", page)
        for name, statement in PARTS.items():
            timed(
                f"{name}, with the indexes of before",
                lambda s=statement: connection.execute(s, [space]).fetchone(),
            )
        runner.run(database.close())


PARTS = {
    "count of pictures": "SELECT count(*) FROM images WHERE owner_id = %s",
    "count and bytes of pictures": "SELECT count(*), sum(size) FROM images WHERE owner_id = %s",
    "count of tasks": "SELECT count(*) FROM tasks WHERE owner_id = %s",
    "count and bytes of tasks": "SELECT count(*), sum(size) FROM tasks WHERE owner_id = %s",
}

BEFORE = (
    "CREATE INDEX without_sizes ON images (owner_id, id)",
    "DROP INDEX ix_images_owner_id_id",
)

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
