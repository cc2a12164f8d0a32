"""Values as JSON bytes, by orjson.

Knows no framework: roles that serve no HTTP make records, too.
"""

from __future__ import annotations

import orjson

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def dumps(value: object) -> bytes:
    """JSON bytes: UTF-8, datetimes as RFC 3339 in UTC with Z.

    Lone surrogates, which UTF-8 cannot say, become `?`.
    """
    try:
        return orjson.dumps(value, option=OPTIONS)
    except orjson.JSONEncodeError:
        return orjson.dumps(_sayable(value), option=OPTIONS)


def _sayable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_sayable(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(item) for item in value]
    return value
