"""Failures of decoding that the format does not explain: too slow, too hungry, crashed."""

from __future__ import annotations

from atelier.errors import AtelierError


class DecodeFailed(AtelierError):
    """The decoder failed on this content."""

    slug = "decode-failed"


class DecodeTimeout(DecodeFailed):
    """Decoding took too long."""

    slug = "decode-timeout"


class DecodeMemory(DecodeFailed):
    """Decoding needs too much memory."""

    slug = "decode-memory"


class DecodeCrashed(DecodeFailed):
    """The decoder crashed on this content."""

    slug = "decode-crashed"
