"""Every problem type that Atelier responds with: its title, its status and its meaning.

This table is behind the titles of errors, the pages under `/problems/` and, by `make docs`,
docs/reference/errors.md. A response whose slug is missing here has the type `about:blank`.
"""

from __future__ import annotations

from typing import NamedTuple

BASE = "/problems/"  # a type is a reference relative to the server


class ProblemType(NamedTuple):
    """The text about a slug. `description` is Markdown of plain text and `code` only."""

    title: str
    status: int | None  # None: only a reason in the record of a picture or file that failed
    description: str
    headers: str = ""  # its headers, as a phrase after "with"


GENERAL = {
    "malformed": ProblemType(
        "The request could not be read",
        400,
        "The request could not be read: it is not valid HTTP, the JSON or the multipart body is "
        "broken, the address is not UTF-8, or the entity tags of an `If-Match` are not in "
        "quotes.",
    ),
    "unauthenticated": ProblemType(
        "A valid bearer token is needed",
        401,
        "The request needs a valid bearer token in the header `Authorization`.",
        "`WWW-Authenticate`",
    ),
    "search-too-slow": ProblemType(
        "This search takes too long",
        503,
        "The search was ended after three seconds, or too many were searching. Search for a "
        "longer or a rarer text.",
        "`Retry-After`",
    ),
    "forbidden": ProblemType(
        "This is not yours to do",
        403,
        "You are signed in, but this is not yours to do.",
    ),
    "not-allowed": ProblemType(
        "You may not do this here",
        403,
        "Your role in this space, or the rights of the API key, do not allow this.",
    ),
    "cross-site": ProblemType(
        "Another site may not use a browser's session",
        403,
        "A request by cookie that changes something must come from a page of the same origin: "
        "with `Sec-Fetch-Site: same-origin`, or, where a browser sends none, with our own "
        "`Origin`.",
    ),
    "not-found": ProblemType(
        "There is no such thing here",
        404,
        "The path is unknown, or the object does not exist or belongs to somebody else.",
    ),
    "method-not-allowed": ProblemType(
        "This method is not offered here",
        405,
        "The path exists, but not with this method.",
        "`Allow`",
    ),
    "not-acceptable": ProblemType(
        "This cannot be given in the form asked for",
        406,
        "The content cannot be given in the form that was asked for.",
    ),
    "request-timeout": ProblemType(
        "The body came too slowly",
        408,
        "The body of the request came at less than 1 kB a second for 20 s or longer. The "
        "connection is closed.",
    ),
    "conflict": ProblemType(
        "The request contradicts the present state",
        409,
        "The request contradicts the present state of the object.",
    ),
    "out-of-range": ProblemType(
        "The log does not hold this position",
        410,
        "The log of events does not hold this position, or not any more.",
    ),
    "precondition-failed": ProblemType(
        "The object has changed since you read it",
        412,
        "`If-Match` names another state of the object than the present: read it again, then "
        "decide.",
    ),
    "too-large": ProblemType(
        "The body is larger than the limit",
        413,
        "The body is over its limit, and is not read to its end: `body_limit` for any (a "
        "setting), 256 KiB for JSON, 8 KiB where no token is needed. JSON with a picture in "
        "base64 may be as large as an upload.",
    ),
    "unsupported": ProblemType(
        "This kind of content is not supported",
        415,
        "This kind of content is not supported here; `detail` says which kind is.",
    ),
    "range-not-satisfiable": ProblemType(
        "The range lies outside the content",
        416,
        "The range lies outside the content.",
        "`Content-Range: bytes */<size>`",
    ),
    "unknown-host": ProblemType(
        "The service is not known by this name",
        421,
        "The header `Host` names another service than this one. The setting `allowed_hosts` says "
        "which names are taken; without it an instance that listens on a loopback address takes "
        "`localhost` and loopback addresses alone. Health checks may also name the address of the "
        "machine.",
    ),
    "invalid": ProblemType(
        "The request is not acceptable as it stands",
        422,
        "The request was read but is not acceptable as it stands; `errors` says where, if single "
        "values are wrong. A field or a query parameter that an operation does not have is not "
        "ignored: a filter that is misspelt would match everything. The message lists those that "
        "the operation has. (Deprecated addresses accept the `user_id` of old clients, which "
        "decides nothing; health checks accept any parameter.)",
    ),
    "too-many-requests": ProblemType(
        "Too many attempts; wait before the next",
        429,
        "Too many attempts, or too many connections from one client (the setting "
        "`client_connections`). Wait as long as `Retry-After` says before the next one. "
        "docs/reference/limits.md has the limits of sign-ins.",
        "`Retry-After` in seconds",
    ),
    "headers-too-large": ProblemType(
        "The head of the request is too large",
        431,
        "The request line and headers take more than 64 KiB. The connection is closed.",
    ),
    "internal-error": ProblemType(
        "Something went wrong on our side",
        500,
        "Something went wrong on our side. The log says more under the `error_id` of the answer.",
    ),
    "unavailable": ProblemType(
        "The service cannot take this right now; try again",
        503,
        "A dependency cannot be reached or the service is full; the same request may succeed "
        "later. On `/readyz` the member `checks` says what each dependency answered: `ok`, "
        "`slow` or `unreachable`.",
        "`Retry-After` when a time is known",
    ),
}
ACCOUNTS = {
    "too-many-keys": ProblemType(
        "There are too many keys",
        409,
        "A person may have a hundred API keys; delete one first.",
    ),
    "address-taken": ProblemType(
        "This address has an account",
        409,
        "This e-mail address has an account. Upper and lower case make no difference.",
    ),
    "too-many-invitations": ProblemType(
        "There are too many invitations",
        409,
        "A space may have a hundred open invitations; delete one first.",
    ),
    "wrong-credentials": ProblemType(
        "The address or the password is wrong",
        401,
        "The address or the password is wrong; the answer does not say which.",
        "`WWW-Authenticate`",
    ),
    "dead-refresh-token": ProblemType(
        "This refresh token is not valid, or not any more; sign in again",
        401,
        "The refresh token is not valid, or not any more. Sign in again.",
        "`WWW-Authenticate`",
    ),
    "wrong-password": ProblemType(
        "The present password is wrong",
        403,
        "The present password, by which you confirm a change of password or the deletion of the "
        "account, is wrong. You stay signed in: this is no 401.",
    ),
    "registration-closed": ProblemType(
        "Accounts are made by invitation here",
        403,
        "This instance does not make an account for everybody (the setting `registration`): it "
        "takes an invitation of its operator, or none at all.",
    ),
    "dead-link": ProblemType(
        "This link is not valid, or not any more",
        403,
        "The link was used, is too old, was replaced or is for another address. Ask for a new "
        "one.",
    ),
    "unsupported-grant-type": ProblemType(
        "Only the grant type password is offered",
        422,
        "The token endpoint offers the grant type `password` only.",
    ),
}
SPACES = {
    "last-owner": ProblemType(
        "A space needs an owner",
        409,
        "The last owner of a space neither leaves it nor gets another role, and keeps the account "
        "while others are members; `detail` names the space. Make somebody else an owner, or "
        "delete the space.",
    ),
    "personal-space": ProblemType(
        "A person's own space stays theirs alone",
        409,
        "One's own space has no other members and no name, and is deleted with the account alone. "
        "Make a space for a team.",
    ),
    "already-member": ProblemType(
        "This account is a member already",
        409,
        "The account is a member of this space already. The invitation stays open; its owners "
        "change roles.",
    ),
    "too-many-spaces": ProblemType(
        "There are too many spaces",
        409,
        "You own as many spaces of teams as one person may (the setting `space_limit`); delete "
        "one first.",
    ),
}
REPEATED = {
    "idempotency-key-reused": ProblemType(
        "This Idempotency-Key was used with other content",
        422,
        "This `Idempotency-Key` was used with other content.",
    ),
    "idempotency-key-running": ProblemType(
        "The first request with this Idempotency-Key is still running",
        409,
        "The first request with this `Idempotency-Key` is still running.",
        "`Retry-After`",
    ),
}
QUOTAS = {
    "quota-exceeded": ProblemType(
        "Your quota is used up",
        403,
        "You may not keep more pictures, tasks and files, or not so many bytes (the settings "
        "`quota_objects` and `quota_bytes`); `detail` says how much is used. What you delete "
        "makes room at once.",
    ),
}
IMAGES = {
    "not-ready": ProblemType(
        "This is still being processed",
        404,
        "The picture is still being processed.",
        "`Retry-After`",
    ),
    "processing-failed": ProblemType(
        "This could not be processed",
        404,
        "The picture could not be processed; `detail` and the record's `error` say why.",
    ),
    "not-an-image": ProblemType(
        "This is not an image of a kind that can be decoded here",
        415,
        "The file has none of the picture formats that are accepted.",
    ),
    "too-many-pixels": ProblemType(
        "The picture has more pixels than the limit",
        422,
        "The picture has more pixels than the setting `pixel_limit` allows.",
    ),
    "bad-picture": ProblemType(
        "The picture is damaged and cannot be decoded",
        415,
        "The file is a picture, but it is damaged and cannot be decoded, or its header is so long "
        "that its size is not found.",
    ),
    "queue-full": ProblemType(
        "Too many jobs are waiting",
        503,
        "Too many pictures are waiting to be processed.",
        "`Retry-After`",
    ),
}
TASKS = {
    "no-free-task": ProblemType(
        "None of your tasks is free",
        404,
        "None of your tasks is free. Wait a little and ask again, or create a task.",
    ),
    "task-leased": ProblemType(
        "A task that is leased stays in its space",
        409,
        "One of the tasks is leased, so none was moved. Move them once the lease has ended.",
    ),
    "lease-lost": ProblemType(
        "This lease has ended",
        409,
        "The lease of this task ran out, was released or completed, or never was. Take a task "
        "again.",
    ),
}
FILES = {
    "no-file": ProblemType(
        "The form has no file",
        400,
        "The form has no file in its part `file`. A file in another part is not read.",
    ),
    "empty-file": ProblemType(
        "The file is empty",
        400,
        "The file has no bytes.",
    ),
    "not-failed": ProblemType(
        "Only what has failed can be retried",
        409,
        "Only a file or an image whose processing failed can be retried.",
    ),
}
EVENTS = {
    "log-pruned": ProblemType(
        "The log has been pruned beyond this position",
        410,
        "Events after this position are older than the setting `outbox_retention_days` and are "
        "gone. Read anew what you keep a copy of, and go on from the position that `GET "
        "/api/events` gives without `after`.",
    ),
    "log-ahead": ProblemType(
        "The log has not come to this position",
        410,
        "The position lies beyond the end of the log, as after a restore from a backup. Read anew "
        "what you keep a copy of, and go on from the position that `GET /api/events` gives "
        "without `after`.",
    ),
}
REASONS = {
    "decode-failed": ProblemType(
        "The decoder failed on this content",
        None,
        "The content could not be decoded.",
    ),
    "decode-timeout": ProblemType(
        "Decoding took too long",
        None,
        "Decoding took longer than the setting `decode_seconds` allows.",
    ),
    "decode-memory": ProblemType(
        "Decoding needs too much memory",
        None,
        "Decoding needed more memory than the setting `decode_memory` allows.",
    ),
    "decode-crashed": ProblemType(
        "The decoder crashed on this content",
        None,
        "The decoder crashed on this content; nothing else was harmed.",
    ),
    "not-processed": ProblemType(
        "Every attempt to process this failed",
        None,
        "Every attempt failed for a reason that does not lie in the content; the log has it.",
    ),
    "bad-size": ProblemType(
        "The size is out of range",
        None,
        "The size of captions in the settings is out of range.",
    ),
    "bad-font": ProblemType(
        "The font cannot be used",
        None,
        "The font of captions in the settings (`caption_font`) cannot be used. The image "
        "processor does not start with such a font.",
    ),
    "too-large-to-inspect": ProblemType(
        "The file is too large to be looked into",
        None,
        "Files of this kind are not inspected at this size.",
    ),
    "bad-archive": ProblemType(
        "The archive is damaged and cannot be read",
        None,
        "The archive is damaged.",
    ),
    "archive-bomb": ProblemType(
        "The archive unpacks to far more than an honest one",
        None,
        "The archive unpacks to far more than an ordinary one of its size.",
    ),
    "too-many-entries": ProblemType(
        "The archive has too many entries",
        None,
        "The archive has too many entries.",
    ),
    "bad-pdf": ProblemType(
        "The PDF is damaged and cannot be read",
        None,
        "The PDF is damaged.",
    ),
}
# By heading, in the order of the reference page.
GROUPS: dict[str, dict[str, ProblemType]] = {
    "By kind": GENERAL,
    "Accounts": ACCOUNTS,
    "Spaces": SPACES,
    "Repeated requests": REPEATED,
    "Quotas": QUOTAS,
    "Images": IMAGES,
    "Tasks": TASKS,
    "Files": FILES,
    "Events": EVENTS,
    "Reasons in records": REASONS,
}
PROBLEM_TYPES: dict[str, ProblemType] = {}
for _group in GROUPS.values():
    PROBLEM_TYPES |= _group
