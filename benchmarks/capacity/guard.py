"""The load goes only to a ready instance, on this machine unless the operator allows others."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any, NamedTuple

import msgspec

from atelier.classify.http_client import BadAnswer, Client, Endpoint, Response
from atelier.errors import AtelierError

TITLE = "Atelier"
"""The title of an instance's OpenAPI document."""

HELLO_SECONDS = 10.0
"""Time that a question asked before any load may take."""


class Refused(AtelierError):
    """No load will be sent there."""

    slug = "capacity-refused"


class Admitted(NamedTuple):
    """An instance that may be loaded."""

    version: str
    local: bool
    """True for loopback: only then are processes that serve its port here the server's."""


async def admit(endpoint: Endpoint, *, allow_remote: bool) -> Admitted:
    """Look whether the instance may be loaded. Raises Refused, with what to do about it."""
    local = await _local(endpoint)
    if not local and not allow_remote:
        raise Refused(
            f"{endpoint.host} is not this machine. This tool sends as much as the other side can "
            "carry: give "
            "--allow-remote only for an instance that is yours"
        )
    client = Client(endpoint, HELLO_SECONDS)
    try:
        ready = await _ask(client, "/readyz")
        document = _mapping(await _ask(client, "/openapi.json"))
    finally:
        client.close()
    info = document.get("info") or {}
    if not isinstance(info, dict) or info.get("title") != TITLE:
        raise Refused(
            f"{_name(endpoint)} answers, but not as Atelier does: is this the right URL?"
        )
    if ready.status != 200:
        detail = _mapping(ready).get("detail", f"status {ready.status}")
        raise Refused(f"{_name(endpoint)} is not ready, nothing was sent: {detail}")
    return Admitted(str(info.get("version", "unknown")), local)


async def _local(endpoint: Endpoint) -> bool:
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(f"{endpoint.host} has no address: {error.strerror}") from error
    return all(
        ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
        for *_, address in found
    )


async def _ask(client: Client, path: str) -> Response:
    where = _name(client.endpoint)
    try:
        return await client.send(client.endpoint.request("GET", client.endpoint.path + path))
    except TimeoutError as error:
        raise Refused(f"{where} does not answer within {HELLO_SECONDS:.0f} s") from error
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise Refused(
            f"nothing answers at {where} ({reason}): start `atelier up`, or give its --url"
        ) from error
    except BadAnswer as error:
        raise Refused(f"{where} does not speak HTTP as Atelier does: {error}") from error


def _mapping(response: Response) -> dict[str, Any]:
    """A JSON object; an empty one of anything else."""
    try:
        said = msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}


def _name(endpoint: Endpoint) -> str:
    return f"{endpoint.host}:{endpoint.port}"
