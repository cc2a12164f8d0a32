"""The clients of a campaign: what they take for an answer, and what for a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.chaos.ledger import Ledger
from tests.chaos.load import client as module
from tests.chaos.load.client import RUNNING, Client, StuckError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK, BUSY, BROKEN, GONE, DEAD = (201, "{}"), (503, "{}"), (500, "{}"), (404, "{}"), (0, "")
BEING_DONE = (409, f'{{"type": "{RUNNING}"}}')
REFUSED = (409, '{"type": "/problems/lease-ended"}')


class Server:
    """An HTTP server that gives prepared answers in turn, then the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.heads: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection; without a status the connection breaks."""
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status:
            head = (
                f"HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write((head + body).encode())
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on a port of its own."""
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()


@pytest.fixture
async def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A client that does not rest between its tries."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    made = Client(server.url, "token", Ledger())
    yield made
    await made.close()


async def test_a_request_is_repeated_under_its_key_until_it_is_acknowledged(
    server: Server, client: Client
) -> None:
    """A broken connection, 503 and 409 for its own key are what a kill may cause, and no fault."""
    server.answers = [DEAD, BUSY, BEING_DONE, OK]
    await client.keyed("make", "/things", {201})
    keys = {head.lower().partition(b"idempotency-key: ")[2].split()[0] for head in server.heads}
    assert len(server.heads) == 4
    assert len(keys) == 1
    assert client.ledger.faults == []
    assert client.ledger.answers["make", "503"] == 1


@pytest.mark.parametrize("answer", [BROKEN, GONE, REFUSED])
async def test_any_other_answer_is_a_fault(
    server: Server, client: Client, answer: tuple[int, str]
) -> None:
    """It is written down with its status, and the request goes on."""
    server.answers = [answer, OK]
    await client.keyed("make", "/things", {201})
    (fault,) = client.ledger.faults
    assert str(answer[0]) in fault


@pytest.mark.parametrize(("answers", "faults"), [([DEAD, GONE], 0), ([GONE, GONE], 1)])
async def test_a_thing_may_be_gone_only_after_a_try_to_delete_it(
    server: Server, client: Client, answers: list[tuple[int, str]], faults: int
) -> None:
    """404 is a good answer once an earlier one was lost, and a fault as the first."""
    server.answers = answers
    await client.ask("delete", "DELETE", "/things/1", {204}, good_again={404})
    assert len(client.ledger.faults) == faults


async def test_a_request_that_is_never_acknowledged_is_a_fault(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries in vain have an end."""
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.05)
    server.answers = [BUSY]
    with pytest.raises(StuckError):
        await client.keyed("make", "/things", {201})
    assert client.ledger.faults == ["make: POST /things was never acknowledged"]
