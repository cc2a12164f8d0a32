"""An advisory lock by which others see that this process lives.

PostgreSQL frees it at the moment in which the process dies, on whatever host, so nothing goes by
a clock. Knows nothing of what is held in the lock's name.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

import asyncpg

from atelier import locks
from atelier.database import ERRORS, KEEPALIVE, Database
from atelier.retry import Outage

NUMBERS = 2**31  # of which each process draws one for its life
CONNECT_SECONDS = 5
ASK_SECONDS = 10.0  # between looks at a silent connection, and the longest that one may take
SERVER_SETTINGS = {"application_name": "atelier presence", "idle_session_timeout": "0"} | KEEPALIVE
_TRY_LOCK = f"SELECT pg_try_advisory_lock({locks.PRESENCE_CLASS}, $1)"

log = logging.getLogger(__name__)


async def hold(database: Database) -> None:
    """Hold a lock of this process until cancelled, through outages of the database.

    `database.presence` is its number, and None whenever it is not held.
    """
    number = secrets.randbelow(NUMBERS)
    outage = Outage(log, "the lock by which others see this process")
    while True:
        try:
            await _hold(database, number, outage)
        except ERRORS as error:
            await outage.failed(error)


async def _hold(database: Database, number: int, outage: Outage) -> None:
    connection = await asyncpg.connect(
        database.url,
        timeout=CONNECT_SECONDS,
        command_timeout=ASK_SECONDS,
        server_settings=SERVER_SETTINGS,
    )
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        if not await connection.fetchval(_TRY_LOCK, number):
            raise ConnectionError("the session that was lost still holds the lock")
        database.presence = number
        outage.over()
        while True:
            await _sleep(lost)
            await connection.execute("SELECT 1")  # raises when the connection was lost
    finally:
        database.presence = None
        connection.terminate()


async def _sleep(lost: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await lost.wait()
    except TimeoutError:
        pass
