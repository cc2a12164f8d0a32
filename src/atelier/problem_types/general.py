"""Problems by kind, which any request may meet."""

from __future__ import annotations

from atelier.problem_types.model import ProblemType

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
        "Your role in this space, or the rights of the API key, do not allow this; or the "
        "instance leaves it to its administrators (the setting `books_by`).",
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
