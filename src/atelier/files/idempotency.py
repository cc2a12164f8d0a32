"""Idempotency keys on Django's connection: a repeated POST gets the first response again.

The table and its meaning are those of the API's other parts; the key is taken inside the
transaction of its work.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

from atelier.files import django_setup
from atelier.wire import idempotency as law
from atelier.wire.complaints import refused

_NAMES = (
    *("scope", "key", "fingerprint", "lock", "life"),
    *("locked_at", "status", "headers", "body"),
)
_SPELLED = {name: f"%({name})s" for name in _NAMES}
_TAKE = law.TAKE.format(**_SPELLED, holder="NULL")  # nobody sees the run before its commit
_LOOK = law.LOOK.format(**_SPELLED)
_COMPLETE = law.COMPLETE.format(**_SPELLED)


class Once:
    """One request's key; without one every request is a new one.

    Raises Invalid for a header that can be no key.
    """

    def __init__(
        self, request: HttpRequest, user_id: int, operation: str, *content: object
    ) -> None:
        self._key = request.headers.get(law.HEADER)
        if self._key is not None and not law.is_key(self._key):
            raise refused(law.KEY_NEEDED, "header", law.HEADER)
        self._fingerprint = law.fingerprint(*content)
        self._locked_at: datetime | None = None
        self._values = {
            "scope": law.scope(user_id, operation),
            "key": self._key,
            "fingerprint": self._fingerprint,
            "lock": law.LOCK,
            "life": timedelta(hours=django_setup.context().settings.idempotency_hours),
        }

    def look(self) -> HttpResponse | None:
        """The first response, if there is one.

        Raises Invalid if the key came with other content.
        """
        if self._key is None:
            return None
        kept = _row(_LOOK, self._values)
        if kept is None:
            return None
        first = law.replay(kept, self._fingerprint)
        return HttpResponse(first.body, status=first.status, headers=first.marked)

    def take(self) -> HttpResponse | None:
        """Take the key in the present transaction, after any other that is taking it.

        Returns the first response if there is one by then.
        """
        if self._key is None:
            return None
        if (taken := _row(_TAKE, self._values)) is None:
            return self.look()
        self._locked_at = taken["locked_at"]
        return None

    def keep(self, answer: HttpResponse) -> None:
        """Keep the answer in the transaction that makes it true. Raises Conflict."""
        if self._key is None:
            return
        kept = {
            "locked_at": self._locked_at,
            "status": answer.status_code,
            "headers": json.dumps(law.kept_headers(answer.headers)),
            "body": answer.content,
        }
        if _row(_COMPLETE, self._values | kept) is None:
            raise law.taken_over()


def _row(statement: str, values: dict[str, Any]) -> dict[str, Any] | None:
    """The first row by the names of its columns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
        return row and dict(zip((column.name for column in cursor.description), row, strict=True))
