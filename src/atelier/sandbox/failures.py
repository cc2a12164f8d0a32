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


# The same content takes the same time and memory: once more, for a machine that was busy.
LIMIT_ATTEMPTS = 2


def attempts(failure: DecodeFailed, limit: int) -> int:
    """How often content that failed so may be tried, if others are tried `limit` times."""
    at_limit = isinstance(failure, DecodeTimeout | DecodeMemory)
    return min(limit, LIMIT_ATTEMPTS) if at_limit else limit
