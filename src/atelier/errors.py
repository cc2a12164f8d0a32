"""Errors that a client can cause or meet.

Each edge (HTTP, gRPC, DRF) maps them to its own codes; no status code is known here. `slug` is the
stable name of a kind of error; an error may have a slug of its own. Each slug of a response has an
entry in `atelier.problem_types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atelier.problem_types import PROBLEM_TYPES


class AtelierError(Exception):
    """Something went wrong.

    `members` are what the problem document says besides, by name.
    """

    slug = "error"
    members: Mapping[str, Any] = {}

    def __init__(
        self, detail: str = "", *, slug: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.slug = slug or type(self).slug
        self.retry_after = retry_after

    @property
    def title(self) -> str:
        """The title of the slug's problem type, else the class's docstring without full stop."""
        if known := PROBLEM_TYPES.get(self.slug):
            return known.title
        return (type(self).__doc__ or "Error").splitlines()[0].rstrip(".")


class NotFound(AtelierError):
    """There is no such thing here."""

    slug = "not-found"


class Conflict(AtelierError):
    """The request contradicts the present state."""

    slug = "conflict"


class Invalid(AtelierError):
    """The request is not acceptable as it stands."""

    slug = "invalid"

    def __init__(
        self,
        detail: str = "",
        *,
        slug: str | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(detail, slug=slug)
        self.errors = errors or []


class Malformed(AtelierError):
    """The request could not be read."""

    slug = "malformed"


class Unauthenticated(AtelierError):
    """A valid bearer token is needed."""

    slug = "unauthenticated"


class Forbidden(AtelierError):
    """This is not yours to do."""

    slug = "forbidden"


class TooLarge(AtelierError):
    """The body is larger than the limit."""

    slug = "too-large"


class Unsupported(AtelierError):
    """This kind of content is not supported."""

    slug = "unsupported"


class OutOfRange(AtelierError):
    """The log does not hold this position."""

    slug = "out-of-range"


class PreconditionFailed(AtelierError):
    """The object has changed since you read it."""

    slug = "precondition-failed"


class TooManyRequests(AtelierError):
    """Too many attempts; wait before the next."""

    slug = "too-many-requests"


class Unavailable(AtelierError):
    """The service cannot take this right now; try again."""

    slug = "unavailable"
