"""When a peer is too slow."""

from __future__ import annotations

import itertools
import socket

import pytest

from atelier.http.pace import Pace, bytes_taken
from tests.waiting import until


@pytest.mark.parametrize(
    ("moves", "looks"),
    [
        ([0], 4),  # silence: as long as the grace lasts
        ([500], 8),  # half of what is due: twice as long
        ([1], 5),
        ([1000], None),
        ([1500], None),
        ([0, 0, 3000], None),  # in steps that the grace outlasts
        ([9_000_000, 0, 0, 0, 0], 5),  # what was given before is no credit
    ],
)
def test_who_is_below_the_rate_is_found(moves: list[int], looks: int | None) -> None:
    """With a grace of 4,000 bytes and 1,000 due at each look."""
    pace, moved = Pace(4000, 0), 0
    for look, move in zip(range(1, 1000), itertools.cycle(moves), strict=False):
        moved += move
        if not pace.keeps_up(moved, 1000):
            assert look == looks
            return
    assert looks is None


def test_what_the_peer_has_taken_is_known() -> None:
    """Not what the kernel accepted: megabytes that nobody reads count for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setblocking(False)
            accepted = 0
            try:
                while True:
                    accepted += ours.send(b"x" * 65_536)
            except BlockingIOError:
                pass
            taken, step = bytes_taken(ours)
            assert taken < accepted
            assert step
            peer.recv(1024 * 1024)
            until(lambda: bytes_taken(ours)[0] > taken)
