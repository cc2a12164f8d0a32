"""What travels: jobs for the two picture queues and events for the bus, as types with their wire form.

Jobs are MessagePack (pictures stay raw bytes); events are CloudEvents 1.0 structured JSON. Knows
neither queue nor bus.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from atelier.imaging.recipe import Recipe, Rendition

SOURCE = "/atelier"


class ProcessImage(msgspec.Struct, frozen=True):
    """Render one picture: sent by the API, taken by the image processor.

    The picture travels inside (`picture`) while it is small, by blob key (`blob`) above that.
    """

    image_id: int
    version: int
    description: str
    received_at: datetime
    recipe: Recipe
    blob: str
    picture: bytes | None = None
    traceparent: str | None = None


class StoreImage(msgspec.Struct, frozen=True, tag="store"):
    """Keep the renditions of one picture: sent by the image processor, taken by the archiver."""

    image_id: int
    version: int
    description: str
    received_at: datetime
    renditions: tuple[Rendition, ...]
    traceparent: str | None = None


class RejectImage(msgspec.Struct, frozen=True, tag="reject"):
    """Record that a picture cannot be processed and why: `reason` is a slug, `detail` a sentence for its owner."""

    image_id: int
    version: int
    reason: str
    detail: str
    traceparent: str | None = None


Outcome = StoreImage | RejectImage


class Event(msgspec.Struct, frozen=True):
    """A fact that happened to `subject` (`images/42`).

    `sequence` counts per subject from 1 without gaps.
    """

    id: str
    type: str
    subject: str
    sequence: int
    time: datetime
    data: dict[str, Any]
    traceparent: str | None = None

    def to_json(self) -> bytes:
        """The event as a CloudEvents 1.0 structured JSON document."""
        return _json.encode(
            {
                "specversion": "1.0",
                "id": self.id,
                "source": SOURCE,
                "type": self.type,
                "subject": self.subject,
                "time": self.time,
                "datacontenttype": "application/json",
                # An integer: it counts. (The documented extension of that name is a string.)
                "sequence": self.sequence,
                "data": self.data,
            }
            | (
                {"traceparent": self.traceparent} if self.traceparent else {}
            )  # the distributed tracing extension
        )

    @classmethod
    def from_json(cls, document: bytes) -> Event:
        """Read a CloudEvents document. Raises msgspec.ValidationError for anything else."""
        return _event.decode(document)


def new_event_id() -> str:
    """A unique event id."""
    return str(uuid.uuid4())


def utcnow() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def encode(job: ProcessImage | StoreImage | RejectImage) -> bytes:
    """A job's wire form."""
    return _msgpack.encode(job)


def decode_process(body: bytes) -> ProcessImage:
    """Read a job of the `process` queue. Raises msgspec.ValidationError when it is none."""
    return _process.decode(body)


def decode_outcome(body: bytes) -> Outcome:
    """Read a job of the `store` queue. Raises msgspec.ValidationError when it is none."""
    return _outcome.decode(body)


_json = msgspec.json.Encoder()
_event = msgspec.json.Decoder(Event)
_msgpack = msgspec.msgpack.Encoder()
_process = msgspec.msgpack.Decoder(ProcessImage)
_outcome: msgspec.msgpack.Decoder[Outcome] = msgspec.msgpack.Decoder(Outcome)
