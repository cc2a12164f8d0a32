"""Asks an API over a plain socket whether it is up."""

from __future__ import annotations

import asyncio

from atelier.observe import probe

HEALTH_TIMEOUT_SECONDS = 2  # for one answer


async def is_healthy(host: str, port: int) -> bool:
    """Whether the API answers `GET /healthz` with 200."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(probe.LOCAL.get(host, host), port)
            try:
                writer.write(probe.request("/healthz"))
                return probe.status_of(await reader.readline()) == 200
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
