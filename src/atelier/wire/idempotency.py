"""Idempotency keys: a POST that is sent again is answered again, not done again.

The rules, the fingerprint of a request and the statements of the table `idempotency_keys`, for
any driver. The answer is kept in the transaction of what it announces, so neither exists without
the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from atelier import locks
from atelier.errors import Conflict, Invalid

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
REPLAY_HOURS = 24
# Far above the time from key to commit; after it, a run counts as dead though its process lives.
LOCK = timedelta(seconds=60)
RETRY_SECONDS = 1  # when the first run is likely to be done

KEY_CHARACTERS = 255
KEY_PATTERN = r"^[\x21-\x7e]+$"
KEY_SCHEMA = {"minLength": 1, "maxLength": KEY_CHARACTERS, "pattern": KEY_PATTERN}
KEY_TEXT = (
    "Makes the request safe to repeat: the same key and content are answered from the first run."
)
KEY_NEEDED = f"1 to {KEY_CHARACTERS} printable ASCII characters are needed"
_KEY = re.compile(KEY_PATTERN)

# Parameters stand in braces, for each driver spells them otherwise.
# A key is free when it is new, when its run is dead, or when its answer is no longer kept.
# A run is dead with its process, the holder: its lock can then be had, which nobody else wants.
# Without a holder, and for one that hangs, the clock decides.
TAKE = (
    """
INSERT INTO idempotency_keys AS kept
    (scope, key, fingerprint, state, created_at, locked_at, holder)
VALUES ({scope}, {key}, {fingerprint}, 'running', now(), now(), {holder})
ON CONFLICT (scope, key) DO UPDATE
SET fingerprint = excluded.fingerprint, state = 'running',
    status = NULL, headers = NULL, body = NULL,
    created_at = excluded.created_at, locked_at = excluded.locked_at, holder = excluded.holder
WHERE kept.state = 'running' AND kept.fingerprint = excluded.fingerprint
      AND (kept.locked_at < now() - {lock}
           OR """
    f"pg_try_advisory_xact_lock_shared({locks.PRESENCE_CLASS}, kept.holder)"
    """)
   OR kept.created_at < now() - {life}
RETURNING locked_at
"""
)
# Headers as text: some drivers parse JSON, others do not.
LOOK = """
SELECT fingerprint, state, status, headers::text AS headers, body FROM idempotency_keys
WHERE scope = {scope} AND key = {key} AND created_at >= now() - {life}
"""
# The fence: once another run has taken over, `locked_at` is another and nothing is returned. It
# holds where the lock does not: a living process whose connection broke looks dead for a moment.
COMPLETE = """
UPDATE idempotency_keys
SET state = 'done', status = {status}, headers = CAST({headers} AS jsonb), body = {body}
WHERE scope = {scope} AND key = {key} AND locked_at = {locked_at} AND state = 'running'
RETURNING key
"""
RELEASE = """
DELETE FROM idempotency_keys
WHERE scope = {scope} AND key = {key} AND locked_at = {locked_at} AND state = 'running'
"""


@dataclass(frozen=True, slots=True)
class Replay:
    """The first run's answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def marked(self) -> dict[str, str]:
        """The headers, with the one that says that the answer is a repeated one."""
        return self.headers | {REPLAYED: "true"}


def is_key(value: str) -> bool:
    """Whether a header's value can be a key."""
    return len(value) <= KEY_CHARACTERS and _KEY.fullmatch(value) is not None


def scope(user_id: int | None, operation: str) -> str:
    """The space of keys of a user and an operation: its method and canonical path.

    Without a user all clients share one space of keys, so theirs must be hard to guess: a UUID,
    say.
    """
    return f"{'-' if user_id is None else user_id} {operation}"


def fingerprint(*values: Any) -> bytes:
    """SHA-256 over parsed values, so that no boundary or order of keys counts.

    For a file, give its own digest in hex.
    """
    return hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).digest()


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that its replays have, too."""
    return {name: value for name, value in headers.items() if name.lower() != "content-length"}


def replay(kept: Mapping[str, Any], fingerprint: bytes) -> Replay:
    """The answer in a row of LOOK.

    Raises Invalid when the key was used with other content, and Conflict while its first run is
    at work.
    """
    if bytes(kept["fingerprint"]) != fingerprint:
        message = "This Idempotency-Key was used with other content."
        raise Invalid(message, slug="idempotency-key-reused")
    if kept["state"] != "done":
        raise running("The first request with this Idempotency-Key is still running.")
    return Replay(kept["status"], orjson.loads(kept["headers"]), bytes(kept["body"]))


def running(detail: str) -> Conflict:
    """The refusal of a key that another run has."""
    return Conflict(detail, slug="idempotency-key-running", retry_after=RETRY_SECONDS)


def taken_over() -> Conflict:
    """The refusal of a run that was slower than its lock."""
    return running("Another request with this Idempotency-Key has taken over.")
