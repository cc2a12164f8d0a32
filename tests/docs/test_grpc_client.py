"""The client that the documentation shows runs as it stands and follows the catalogue."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from atelier.roles import relay
from atelier.settings import Settings
from tests.books.support import SECRET, sign_in
from tests.ports import free_port
from tests.rpc.support import serving
from tests.waiting import patience

if TYPE_CHECKING:
    from redis.asyncio import Redis

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "grpc.md"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SEND = """
    WITH book AS (
        INSERT INTO books (title, author, publication_date, title_folded, author_folded, sequence)
        VALUES ('Dune', 'Frank Herbert', '1965-08-01', 'dune', 'frank herbert', 1) RETURNING *
    )
    INSERT INTO outbox (type, subject, sequence, data)
    SELECT 'book.created', 'books/' || id, 1, jsonb_build_object(
        'id', id, 'title', title, 'author', author, 'publication_date', publication_date) FROM book
"""


async def test_the_documented_client_lists_and_follows(
    tmp_path: Path, fresh_database_url: str, redis_url: str, redis: Redis
) -> None:
    """It counts the books that are there and prints the one that comes."""
    import asyncpg

    settings = Settings(
        data=tmp_path,
        database_url=fresh_database_url,
        redis_url=redis_url,
        secret=SECRET,
        grpc_port=free_port(),
    )
    stop = asyncio.Event()
    relaying = asyncio.create_task(relay.run(settings, stop))
    token = (await sign_in(fresh_database_url)).removeprefix("Bearer ")
    async with serving(settings) as port, patience():
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CODE),
            env=os.environ | {"TOKEN": token, "ADDRESS": f"127.0.0.1:{port}"},
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdout is not None
        assert (await client.stdout.readline()).decode() == "0 books; following from 0\n"
        connection = await asyncpg.connect(fresh_database_url)
        await connection.execute(SEND)
        await connection.close()
        assert (await client.stdout.readline()).decode() == "1 BOOK_CHANGE_TYPE_CREATED Dune\n"
        client.kill()
        await client.communicate()
    stop.set()
    await relaying


async def test_the_documented_client_says_what_is_wrong_with_its_token(
    tmp_path: Path, fresh_database_url: str, redis_url: str
) -> None:
    """In one line, where it lists as where it follows."""
    settings = Settings(
        data=tmp_path,
        database_url=fresh_database_url,
        redis_url=redis_url,
        secret=SECRET,
        grpc_port=free_port(),
    )
    async with serving(settings) as port, patience():
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CODE),
            env=os.environ | {"TOKEN": "null", "ADDRESS": f"127.0.0.1:{port}"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await client.communicate()
    assert client.returncode == 1
    assert re.fullmatch(rb"UNAUTHENTICATED: .+\n", said), said
