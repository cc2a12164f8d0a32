"""The settings of pictures and of the work that is done with them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, NoDecode

from atelier.settings.places import MIB

Size = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$")]
Language = Literal[
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hr", "hu", "it",
    "ja", "ko", "lt", "lv", "mk", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk",
    "zh",
]  # fmt: skip


class Work(BaseSettings):
    """Limits of a decode, renditions, captions, queue, cache."""

    pixel_limit: int = Field(100_000_000, ge=1, description="Largest picture, width times height.")
    decode_seconds: int = Field(
        10,
        ge=1,
        description="Time one picture may take to decode and render.",
    )
    decode_memory: int = Field(
        1024 * MIB,
        ge=128 * MIB,
        description="Address space one decode may take, beyond the idle child's own.",
    )
    description_limit: int = Field(
        200,
        ge=1,
        le=10_000,
        description="Longest description, in Unicode characters after NFC.",
    )
    sizes: Annotated[tuple[Size, ...], NoDecode] = Field(
        ("100x100", "500x500"),
        description="Renditions made of every picture: it is fitted inside, never enlarged. "
        "`atelier renditions --missing` makes a new one of those that are there.",
    )
    caption_font: str | None = Field(
        None,
        description="Font of captions: the name of an installed font, such as `arial` or `DejaVu "
        "Sans Bold`, or the path of a font file. The image processor looks for it; its log and "
        "`atelier doctor` say which file was taken. None: the DejaVu Sans that comes with "
        "Atelier, which has Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew and Arabic "
        "letters, but no Chinese, Japanese, Korean, Thai or Indian ones, and of emoji little but "
        "faces. Signs that the font lacks are drawn as boxes; the image processor logs which.",
    )
    caption_size: int = Field(
        12,
        ge=4,
        le=256,
        description="Font size of captions, in pixels. That of the image processor counts, if it "
        "is set there, else that of the API.",
    )

    text_languages: Annotated[tuple[Language, ...], NoDecode] = Field(
        ("ru", "en"),
        description="Languages that texts are expected in, where bytes alone leave the encoding "
        "in doubt (Windows-1251 or KOI8-R, for example). Texts in others are told, too, if there "
        "is enough of them. The files worker reads it.",
    )

    inline_limit: int = Field(
        MIB,
        ge=0,
        description="Largest picture that travels inside its job; larger ones go by blob key.",
    )
    queue_limit: int = Field(
        10_000,
        ge=1,
        description="Pictures that wait for the image processor before uploads are answered 503.",
    )
    job_attempts: int = Field(
        4,
        ge=1,
        description="Deliveries of one job before it is a dead letter.",
    )
    reconcile_seconds: int = Field(
        30,
        ge=1,
        description="A row that is not final and has not moved for this long is offered again.",
    )
    outbox_retention_days: int = Field(
        7,
        ge=1,
        description="How long sent events stay in the outbox for replays.",
    )
    trash_days: int = Field(
        30,
        ge=0,
        le=3650,
        description="How long deleted pictures, tasks and files can be restored. 0: not at all, "
        "and what is in the trash is purged.",
    )
    idempotency_hours: int = Field(
        24,
        ge=1,
        description="How long an Idempotency-Key replays its first answer.",
    )
    cache_seconds: int = Field(
        300,
        ge=1,
        description="How long a record or picture stays in the cache.",
    )
    cache_item_limit: int = Field(MIB, ge=0, description="Largest picture kept in the cache.")
    cache_bytes: int = Field(
        128 * MIB,
        ge=0,
        description="Memory of Redis that all processes together use as cache; half of Redis's "
        "`maxmemory` at most leaves room for the queues. 0: no cache.",
    )
