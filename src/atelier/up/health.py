"""Asks an API over a plain socket whether it is up."""

from __future__ import annotations

import asyncio

HEALTH_TIMEOUT_SECONDS = 2  # for one response


async def is_healthy(host: str, port: int) -> bool:
    """Return whether the API answers `GET /healthz` with 200."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(
                    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]
