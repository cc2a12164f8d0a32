"""The relay's searches for lost files may overlap: a thread outlives its cancelled round."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.waiting import PATIENCE_SECONDS

ROUNDS = """
import asyncio
from atelier.roles import lost_files
from atelier.settings import load

async def rounds(settings):
    return await asyncio.gather(*[lost_files.offer(settings) for _ in range(4)])

asyncio.run(rounds(load()))
"""


def test_rounds_beside_the_first_wait_for_django_and_the_broker(
    database_url: str, redis_url: str
) -> None:
    """Concurrent searches all wait until Django is set up with our broker and database."""
    process = subprocess.run(
        [sys.executable, "-c", ROUNDS],
        env=os.environ | {"ATELIER_DATABASE_URL": database_url, "ATELIER_REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr
