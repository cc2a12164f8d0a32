"""Notices that a client has gone while its answer is being made."""

from __future__ import annotations

from starlette.types import Receive


async def until_left(receive: Receive) -> None:
    """Wait until the client has gone, or is sent away; what it still sends is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass
