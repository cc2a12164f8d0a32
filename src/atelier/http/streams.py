"""How many streams of events a process has open: so many of one user, so many in all."""

from __future__ import annotations

from contextlib import AbstractContextManager

from atelier.events.fanout import Fanout
from atelier.observe.metrics import EVENT_STREAMS, EVENT_STREAMS_REFUSED
from atelier.wire.places import Places

TOTAL = 2_000  # each takes some tens of kilobytes


class Streams:
    """The places of the streams of one process, and what they read from."""

    def __init__(self, fanout: Fanout, each: int) -> None:
        self.fanout = fanout
        self._places = Places(
            "streams of events",
            each=each,
            total=TOTAL,
            on_refusal=EVENT_STREAMS_REFUSED.inc,
        )
        EVENT_STREAMS.set_function(lambda: fanout.readers)

    def place(self, user_id: int) -> AbstractContextManager[None]:
        """A place while the body runs. Raises TooManyRequests."""
        return self._places.place(user_id)
