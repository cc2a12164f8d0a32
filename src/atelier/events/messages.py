"""Messages between processes: jobs for the two image queues and events for the bus.

Jobs are MessagePack, in which pictures stay raw bytes; events are CloudEvents 1.0 structured JSON.
Knows neither queue nor bus.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from atelier.imaging.recipe import Recipe, Rendition

SOURCE = "/atelier"
# Attributes that an event may lack. The first is CloudEvents' own, for distributed tracing.
EXTENSIONS = ("traceparent", "actor", "space")
# What jobs for a task's picture name as the image. No row has it: a process of a release that does
# not know `task_id` finds nothing to change.
NO_IMAGE = 0


class ProcessImage(msgspec.Struct, frozen=True):
    """Render one picture: sent by the API, received by the image processor.

    A small picture travels inside (`picture`), a larger one as a blob key (`blob`). With `task_id`
    it is the picture of a task, and the image is `NO_IMAGE`; so too in what comes of it.
    """

    image_id: int
    version: int
    description: str
    received_at: datetime
    recipe: Recipe
    blob: str
    picture: bytes | None = None
    traceparent: str | None = None
    task_id: int | None = None


class StoreImage(msgspec.Struct, frozen=True, tag="store"):
    """Store the renditions of one picture: sent by the processor, received by the archiver."""

    image_id: int
    version: int
    description: str
    received_at: datetime
    renditions: tuple[Rendition, ...]
    traceparent: str | None = None
    task_id: int | None = None


class RejectImage(msgspec.Struct, frozen=True, tag="reject"):
    """Record that a picture cannot be processed.

    `reason` is a slug, `detail` a sentence for the picture's owner.
    """

    image_id: int
    version: int
    reason: str
    detail: str
    traceparent: str | None = None
    task_id: int | None = None


Outcome = StoreImage | RejectImage


class Event(msgspec.Struct, frozen=True):
    """A fact about `subject` (`images/42`).

    `sequence` counts per subject from 1 without gaps. `actor` did it (`users/7` or `keys/3`; None
    where no request was the cause) in the space `space`, which books and users have none of.
    """

    id: str
    type: str
    subject: str
    sequence: int
    time: datetime
    data: dict[str, Any]
    traceparent: str | None = None
    actor: str | None = None
    space: int | None = None

    def to_json(self) -> bytes:
        """Encode the event as a CloudEvents 1.0 structured JSON document."""
        return _json.encode(
            {
                "specversion": "1.0",
                "id": self.id,
                "source": SOURCE,
                "type": self.type,
                "subject": self.subject,
                "time": self.time,
                "datacontenttype": "application/json",
                # An integer, although the documented extension of that name is a string.
                "sequence": self.sequence,
                "data": self.data,
            }
            | {name: value for name in EXTENSIONS if (value := getattr(self, name)) is not None}
        )

    @classmethod
    def from_json(cls, document: bytes) -> Event:
        """Decode a CloudEvents document. Raises msgspec.ValidationError for anything else."""
        return _event.decode(document)


def subject(job: ProcessImage | StoreImage | RejectImage) -> str:
    """Name what a job is about, for logs: `image 42` or `task 42`."""
    return f"image {job.image_id}" if job.task_id is None else f"task {job.task_id}"


def new_event_id() -> str:
    """Return a unique event id."""
    return str(uuid.uuid4())


def utcnow() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def encode(job: ProcessImage | StoreImage | RejectImage) -> bytes:
    """Encode a job as MessagePack."""
    return _msgpack.encode(job)


def decode_process(body: bytes) -> ProcessImage:
    """Decode a job of the `process` queue. Raises msgspec.ValidationError for anything else."""
    return _process.decode(body)


def decode_outcome(body: bytes) -> Outcome:
    """Decode a job of the `store` queue. Raises msgspec.ValidationError for anything else."""
    return _outcome.decode(body)


_json = msgspec.json.Encoder()
_event = msgspec.json.Decoder(Event)
_msgpack = msgspec.msgpack.Encoder()
_process = msgspec.msgpack.Decoder(ProcessImage)
_outcome: msgspec.msgpack.Decoder[Outcome] = msgspec.msgpack.Decoder(Outcome)
