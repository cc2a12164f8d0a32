"""Which of what is on offer a client prefers: media types, and codings (RFC 9110, 12.5)."""

from __future__ import annotations

from collections.abc import Sequence

_NONE, _ANY, _TYPE, _EXACT = range(4)  # how closely a range of media types names one


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the media type of the greatest weight; of equals the first, None if none will do."""
    if not accept or not accept.strip():
        return offered[0]
    ranges = [_read(part) for part in accept.split(",") if part.strip()]
    weights = {media_type: _weight(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: weights[media_type])
    return best if weights[best] > 0 else None


def _read(part: str) -> tuple[str, float]:
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    try:
        return name, min(max(float(weight), 0.0), 1.0)
    except ValueError:
        return name, 0.0


def _weight(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The weight in the range that names the media type most closely."""
    close, weight = _NONE, 0.0
    for name, given in ranges:
        closeness = _closeness(name, media_type)
        if closeness > close:
            close, weight = closeness, given
    return weight


def _closeness(name: str, media_type: str) -> int:
    if name == media_type:
        return _EXACT
    if name == f"{media_type.partition('/')[0]}/*":
        return _TYPE
    return _ANY if name == "*/*" else _NONE


def accepts(header: str | None, coding: str) -> bool:
    """Whether `Accept-Encoding` names a content coding, or any (RFC 9110, 12.5.3)."""
    weights = dict(_read(part) for part in (header or "").split(","))
    return weights.get(coding, weights.get("*", 0.0)) > 0
