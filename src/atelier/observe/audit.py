"""The audit log: who signed in or failed to, and who changed what about accounts and rights.

One line an event, on the logger `atelier.audit`. It never holds a password or a token, nor the
address that a failed sign-in gave: `hidden` makes a name of that. Knows no slice.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from atelier.observe import requester
from atelier.observe.requester import NOBODY

NAME: Final = "atelier.audit"
HIDDEN_CHARACTERS = 16  # of a digest: enough to tell addresses apart
_PLAIN = re.compile(r"[\w.:,@/+-]+", re.ASCII)  # a value that needs no quotes
# Fields that every line has: a fact of such a name is a field with another name.
_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName"),
    *("time", "level", "role", "logger", "request_id", "trace_id", "exception"),
}

log = logging.getLogger(NAME)


class AuditEvent(StrEnum):
    """Every event of the audit log, with what its line says beyond user, session and client."""

    REGISTERED = "registered"
    SIGNED_IN = "signed-in"
    SIGN_IN_FAILED = "sign-in-failed"
    SIGN_IN_THROTTLED = "sign-in-throttled"
    SIGNED_OUT = "signed-out"
    REFRESH_REUSED = "refresh-reused"
    SESSION_ENDED = "session-ended"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - an event's name
    PASSWORD_RESET = "password-reset"  # noqa: S105 - an event's name
    RESET_LINK_MADE = "reset-link-made"
    ACCOUNT_INVITED = "account-invited"
    ACCOUNT_DISABLED = "account-disabled"
    ACCOUNT_ENABLED = "account-enabled"
    ACCOUNT_DELETED = "account-deleted"
    KEY_MADE = "key-made"
    KEY_REVOKED = "key-revoked"
    MEMBER_INVITED = "member-invited"
    MEMBER_ADDED = "member-added"
    MEMBER_REMOVED = "member-removed"
    ROLE_CHANGED = "role-changed"
    SPACE_DELETED = "space-deleted"


# Somebody may be at work who should not be: what an alert on the log itself would look for.
SUSPICIOUS = frozenset({AuditEvent.SIGN_IN_THROTTLED, AuditEvent.REFRESH_REUSED})


def record(
    event: AuditEvent | str,
    *,
    user: int | None = None,
    session: object = None,
    client: str | None = None,
    **facts: object,
) -> None:
    """Write the line of an event that has happened: call it after the commit.

    `user` is whose account it is about. User, session and client are those of the request in
    hand where they are not given. `facts` are names and values for the end of the line; one that
    is None is left out.
    """
    found, event = requester.current(), AuditEvent(event)
    about = {
        "user": _text(found.user if user is None else user),
        "session": _text(found.session if session is None else session),
        "client": _text(found.client if client is None else client),
    }
    about |= {name: _text(value) for name, value in facts.items() if value is not None}
    level = logging.WARNING if event in SUSPICIOUS else logging.INFO
    words = " ".join(f"{name}={_quoted(value)}" for name, value in about.items())
    fields = {f"fact_{name}" if name in _TAKEN else name: about[name] for name in about}
    log.log(level, "%s %s", event, words, extra={"event": str(event)} | fields)


def hidden(digest: Callable[[str, bytes], bytes], address: str) -> str:
    """Return a name for an address that only the secret can connect with it.

    The same address has the same name until the secret changes. `digest` is that of
    `auth.Tokens`.
    """
    return digest("audit", address.encode(errors="replace")).hex()[:HIDDEN_CHARACTERS]


def _text(value: object) -> str:
    return NOBODY if value is None else str(value)


def _quoted(value: str) -> str:
    """Return a value that cannot be read as two: a client may have chosen it."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
