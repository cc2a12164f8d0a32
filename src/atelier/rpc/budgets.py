"""How many calls may be open at once: for services without a token, and for one user.

The server's own limit counts all calls alike, so that whoever opens enough of them would lock
everybody out. Knows no service.
"""

from __future__ import annotations

from atelier.observe.metrics import CALLS_REFUSED
from atelier.wire.places import Places

# Of health and reflection, in one process. Health checkers keep one stream for each target.
OPEN_STREAMS, OPEN_STREAMS_OF_CLIENT = 64, 8
# Their other calls end at once, except where the message is late.
OPEN_CALLS, OPEN_CALLS_OF_CLIENT = 512, 32
# Of one user, beside the streams: a quarter of all.
USER_CALLS = 1_000


def budget(name: str, what: str, *, each: int, total: int | None = None) -> Places:
    """Places whose refusals are counted under `name`."""
    return Places(what, each=each, total=total, on_refusal=CALLS_REFUSED.labels(name).inc)
