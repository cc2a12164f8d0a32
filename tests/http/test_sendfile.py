"""Files on their way out: pieces, ends, descriptors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from atelier.http.sendfile import CHUNK_BYTES, Streamed, open_file, read_cached, read_file

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = os.urandom(2 * CHUNK_BYTES + 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of two pieces and a bit."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


async def sent(response: Streamed) -> list[dict[str, Any]]:
    """The messages of a response."""
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        raise AssertionError

    await response({"type": "http"}, receive, send)
    return messages


@pytest.mark.parametrize("cached", [True, False])
async def test_a_file_is_read_in_pieces(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, cached: bool
) -> None:
    """The same bytes from memory or, where the system cannot tell, through a thread."""
    if not cached:
        monkeypatch.setattr("atelier.http.sendfile.CACHED_ONLY", None)
    descriptor, size = open_file(path)
    pieces = [piece async for piece in read_file(descriptor, 3, size)]
    os.close(descriptor)
    assert [len(piece) for piece in pieces] == [CHUNK_BYTES, CHUNK_BYTES, 2]
    assert b"".join(pieces) == CONTENT[3:]


def test_what_is_not_in_memory_is_not_waited_for(path: Path) -> None:
    """A read at once gives the right bytes or says that it cannot.

    Of a pipe, which has no place, it never can.
    """
    descriptor, _ = open_file(path)
    assert read_cached(descriptor, 10, 5) in {CONTENT[5:15], None}
    os.close(descriptor)
    reading, writing = os.pipe()
    assert read_cached(reading, 10, 0) is None
    os.close(reading)
    os.close(writing)


async def test_the_last_piece_is_the_last_message(path: Path) -> None:
    """No empty message after it, and the descriptor is given back."""
    descriptor, size = open_file(path)
    messages = await sent(Streamed(descriptor, 0, size, 200, []))
    assert [message.get("more_body") for message in messages[1:]] == [True, True, False]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_a_file_that_ends_early_is_an_error(path: Path) -> None:
    """Truncated under us: the client must not take the beginning for the whole."""
    descriptor, size = open_file(path)
    os.truncate(path, CHUNK_BYTES)
    with pytest.raises(OSError, match="shorter"):
        await sent(Streamed(descriptor, 0, size, 200, []))


def test_a_response_that_is_never_sent_gives_its_descriptor_back(path: Path) -> None:
    """When the client went away before."""
    descriptor, size = open_file(path)
    response = Streamed(descriptor, 0, size, 200, [])
    del response
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_an_empty_file(tmp_path: Path) -> None:
    """Headers and one empty message."""
    (tmp_path / "empty").touch()
    messages = await sent(Streamed(open_file(tmp_path / "empty")[0], 0, 0, 200, []))
    assert messages[1] == {"type": "http.response.body", "body": b""}
