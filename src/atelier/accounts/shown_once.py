"""Secrets that an answer shows once, and shows again to a repeat under its Idempotency-Key.

The kept answer holds a salt in the secret's place: it takes our own secret to make the one of the
other, so that a salt may be kept.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from atelier.accounts.requests import UNSEEN
from atelier.auth import Tokens
from atelier.http.json import json_response
from atelier.wire.idempotency import REPLAYED

SALT, SALT_BYTES = "salt", 16
_HEADERS = ("location", REPLAYED)  # of the kept answer


def new_salt() -> str:
    """Return a salt, which `secret_of` makes a secret of."""
    return secrets.token_hex(SALT_BYTES)


def secret_of(tokens: Tokens, purpose: str, salt: str) -> str:
    """Return the secret of 256 bits that belongs to a salt."""
    digest = tokens.digest(purpose, salt.encode())
    return urlsafe_b64encode(digest).decode().rstrip("=")


def kept(
    record: Mapping[str, Any], salt: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to be kept: a record with the salt."""
    return json_response({**record, SALT: salt}, 201, headers)


def opened(answer: Response) -> tuple[dict[str, Any], str]:
    """Return the record and the salt of a kept answer."""
    record = orjson.loads(bytes(answer.body))
    return record, record.pop(SALT)


def shown(answer: Response, record: Mapping[str, Any]) -> Response:
    """Return what the client gets in the place of a kept answer; no cache keeps it."""
    headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
    return json_response(record, answer.status_code, headers | UNSEEN)
