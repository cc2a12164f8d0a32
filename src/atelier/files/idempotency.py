"""Idempotency keys on Django's connection: a repeated POST gets the first response again.

The table and its meaning are those of the API's other parts; the key is taken inside the
transaction of its work.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta

from django.db import connection
from django.http import HttpResponse

from atelier.errors import Conflict, Invalid
from atelier.files import django_setup

HEADER = "HTTP_IDEMPOTENCY_KEY"
REPLAYED = "Idempotent-Replayed"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_HEADERS = ("Content-Type", "Location", "ETag")
RETRY_SECONDS = 1

TAKE = """
    INSERT INTO idempotency_keys AS kept (scope, key, fingerprint, state, created_at, locked_at)
    VALUES (%(scope)s, %(key)s, %(mark)s, 'running', now(), now())
    ON CONFLICT (scope, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, state = 'running', status = NULL, headers = NULL,
        body = NULL, created_at = excluded.created_at, locked_at = excluded.locked_at
    WHERE kept.created_at < now() - %(life)s
    RETURNING true
"""
LOOK = """
    SELECT fingerprint, state, status, headers, body FROM idempotency_keys
    WHERE scope = %(scope)s AND key = %(key)s AND created_at >= now() - %(life)s
"""
KEEP = """
    UPDATE idempotency_keys
    SET state = 'done', status = %(status)s, headers = %(headers)s::jsonb, body = %(body)s
    WHERE scope = %(scope)s AND key = %(key)s
"""


class Once:
    """The key of one request; without a key every request is new."""

    def __init__(self, key: str | None, user_id: int, operation: str, *fingerprint: str) -> None:
        if key is not None and not KEY.fullmatch(key):
            complaint = {
                "loc": ["header", "Idempotency-Key"],
                "msg": "1 to 255 printable ASCII characters are needed",
            }
            raise Invalid("Some values are not acceptable.", errors=[complaint])
        self._key = key
        self._values = {
            "scope": f"{user_id} {operation}",
            "key": key,
            "mark": hashlib.sha256(json.dumps(fingerprint).encode()).digest(),
            "life": timedelta(hours=django_setup.context().settings.idempotency_hours),
        }

    def look(self) -> HttpResponse | None:
        """The first response, if there is one.

        Raises Invalid if the key came with other content.
        """
        if self._key is None:
            return None
        with connection.cursor() as cursor:
            cursor.execute(LOOK, self._values)
            row = cursor.fetchone()
        if row is None:
            return None
        mark, state, status, headers, body = row
        if bytes(mark) != self._values["mark"]:
            raise Invalid(
                "This Idempotency-Key was used with other content.", slug="idempotency-key-reused"
            )
        if state != "done":
            detail = "The first request with this Idempotency-Key is still running."
            raise Conflict(detail, slug="idempotency-key-running", retry_after=RETRY_SECONDS)
        kept = headers if isinstance(headers, dict) else json.loads(headers)
        return HttpResponse(bytes(body), status=status, headers={**kept, REPLAYED: "true"})

    def take(self) -> HttpResponse | None:
        """Take the key in the present transaction, after any other that is taking it.

        Returns the first response if there is one by then.
        """
        if self._key is None:
            return None
        with connection.cursor() as cursor:
            # Waits for a transaction that inserts the same key, and then conflicts with its row.
            cursor.execute(TAKE, self._values)
            taken = cursor.fetchone()
        return None if taken else self.look()

    def keep(self, answer: HttpResponse) -> None:
        """Keep the response in the transaction that makes it true."""
        if self._key is None:
            return
        headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        with connection.cursor() as cursor:
            kept = {
                "status": answer.status_code,
                "headers": json.dumps(headers),
                "body": answer.content,
            }
            cursor.execute(KEEP, self._values | kept)
