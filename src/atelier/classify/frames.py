"""The protocol between the run and its transforming processes.

A request is a path; a reply is a JPEG with its magic numbers, or a failure.
"""

from __future__ import annotations

import struct
import typing

from atelier.classify.outcomes import Failed, Kind, Transformed

REQUEST = struct.Struct("<I")
"""The length of a path; the path follows."""

REPLY = struct.Struct("<BI")
"""The count of magic numbers (FAILED for a failure), and the length of what follows."""

FAILED, READY = 255, 254

KINDS: dict[str, Kind] = {kind: kind for kind in typing.get_args(Kind)}


def request(path: bytes) -> bytes:
    """Ask for a picture."""
    return REQUEST.pack(len(path)) + path


def ready() -> bytes:
    """Say, before any answer, that the decoders are loaded."""
    return REPLY.pack(READY, 0)


def transformed(made: Transformed) -> bytes:
    """Answer with a picture."""
    head = REPLY.pack(len(made.magic), 8 * len(made.magic) + len(made.jpeg))
    return b"".join((head, struct.pack(f"<{len(made.magic)}d", *made.magic), made.jpeg))


def failed(failure: Failed) -> bytes:
    """Answer with a failure."""
    text = f"{failure.kind} {failure.detail}".encode("utf-8", "replace")
    return REPLY.pack(FAILED, len(text)) + text


def parse(count: int, body: bytes) -> Transformed | Failed:
    """Decode a reply; `count` and the body's length came in its head."""
    if count == FAILED:
        kind, _, detail = body.decode("utf-8", "replace").partition(" ")
        return Failed(KINDS.get(kind, "damaged"), detail)
    return Transformed(body[8 * count :], struct.unpack_from(f"<{count}d", body))
