"""The relay's searches for lost files may overlap: a thread outlives its cancelled round."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.waiting import PATIENCE_SECONDS

ROUNDS = """
import asyncio
from atelier.files import django_setup
from atelier.settings import load

django_setup.configure(load())
from atelier.files import jobs

async def rounds():
    return await asyncio.gather(*[asyncio.to_thread(jobs.reoffer) for _ in range(4)])

asyncio.run(rounds())
"""


def test_rounds_at_once_all_ask_our_broker_and_our_database(
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
