"""Frames between processes that do not trust each other."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.sandbox.frames import BLOB, BadFrame, Channel
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

leaves: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
)
leaves |= st.binary() | st.binary(min_size=BLOB, max_size=BLOB + 10)
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    """Two ends; the second accepts a mebibyte."""
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), Channel(other, most=2**20)


@settings(max_examples=40)
@given(values)
def test_values_come_back(value: Any) -> None:
    """Any tree of builtins arrives as it was sent."""
    one, other = socket.socketpair()
    with one, other:
        sender = threading.Thread(target=Channel(one).send, args=(value,))
        sender.start()
        assert Channel(other).receive() == value
        sender.join()


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<II", 2**31, 0),
        struct.pack("<II", 1, 2**31),
        struct.pack("<IIQ", 1, 1, 2**62),
        struct.pack("<IIQQ", 1, 2, 2**19, 2**19),
        struct.pack("<II", 0, 0),
        struct.pack("<II", 1, 0) + b"\xc1",
        struct.pack("<II", 2, 0) + b"\xa1\xff",
        struct.pack("<II", 2, 0) + b"\x81\xc0",
        struct.pack("<II", 2, 0) + b"\x01\x01",
        struct.pack("<II", 6, 0) + b"\xd6\x01\x07\x00\x00\x00",
        struct.pack("<II", 3, 0) + b"\xd4\x01\x00",
        struct.pack("<II", 90_000, 0) + b"\x91" * 90_000,
    ],
)
def test_hostile_frames_are_refused(pair: tuple[Channel, Channel], frame: bytes) -> None:
    """False lengths, random bytes, unknown blob numbers and deep nesting are all a BadFrame."""
    one, other = pair
    one.sock.sendall(frame + bytes(1))
    with pytest.raises(BadFrame):
        other.receive(time.monotonic() + PATIENCE_SECONDS)


def test_end_of_the_other_side(pair: tuple[Channel, Channel]) -> None:
    """A frame that is cut short, and a peer that is gone, are an EOFError in both directions."""
    one, other = pair
    one.sock.sendall(struct.pack("<II", 100, 0) + b"abc")
    one.sock.close()
    with pytest.raises(EOFError):
        other.receive()
    with pytest.raises(EOFError):
        other.send(1)


def test_trickling_sender_meets_the_deadline(pair: tuple[Channel, Channel]) -> None:
    """A peer that sends a byte now and then does not prolong the wait beyond the deadline."""
    one, other = pair
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            one.sock.send(b"\x00")

    thread = threading.Thread(target=trickle)
    one.sock.sendall(struct.pack("<II", 2**20, 0))
    thread.start()
    with pytest.raises(TimeoutError):
        other.receive(time.monotonic() + 0.3)
    stop.set()
    thread.join()


def test_peer_that_does_not_read_meets_the_deadline(pair: tuple[Channel, Channel]) -> None:
    """Sending more than the socket holds to a peer that does not read ends at the deadline."""
    one, _ = pair
    with pytest.raises(TimeoutError):
        one.send(bytes(8 * 2**20), time.monotonic() + 0.3)
