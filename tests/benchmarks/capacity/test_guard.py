"""Targets to which the load may go."""

from __future__ import annotations

import pytest

from atelier.classify.http_client import Endpoint
from benchmarks.capacity.guard import Refused, admit
from tests.benchmarks.capacity.standin import StandIn, listening

ATELIER = b'{"info":{"title":"Atelier","version":"9.9"}}'
NOT_READY = b'{"title":"Not ready","detail":"Not ready: redis."}'


@pytest.mark.parametrize(
    "url", ["http://192.0.2.7:8000", "http://[2001:db8::1]", "http://0.0.0.0:8000"]
)
async def test_another_machine_is_refused(url: str) -> None:
    """An address that is not loopback gets no request, and the refusal names the option."""
    with pytest.raises(Refused, match="--allow-remote"):
        await admit(Endpoint(url), allow_remote=False)


async def test_another_machine_is_asked_when_allowed() -> None:
    """With the option the same check goes on to ask; here loopback plays the other machine."""
    async with listening(StandIn(answer=lambda _: (200, ATELIER))) as url:
        assert await admit(Endpoint(url), allow_remote=True) == ("9.9", True)


async def test_a_port_without_a_server_is_refused() -> None:
    """A port without a server is named, with what to start."""
    async with listening(StandIn()) as url:
        pass
    with pytest.raises(Refused, match="atelier up"):
        await admit(Endpoint(url), allow_remote=False)


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"info":{"title":"Something else"}}', b'{"info":7}']
)
async def test_something_else_is_refused(body: bytes) -> None:
    """A server that is not Atelier gets two questions and no load."""
    server = StandIn(answer=lambda _: (200, body))
    async with listening(server) as url:
        with pytest.raises(Refused, match="not as Atelier does"):
            await admit(Endpoint(url), allow_remote=False)
    assert server.asked == ["/readyz", "/openapi.json"]


async def test_an_instance_that_is_not_ready_is_refused() -> None:
    """The refusal says what it waits for."""
    answers = {"/readyz": (503, NOT_READY), "/openapi.json": (200, ATELIER)}
    async with listening(StandIn(answer=answers.__getitem__)) as url:
        with pytest.raises(Refused, match="Not ready: redis"):
            await admit(Endpoint(url), allow_remote=False)
