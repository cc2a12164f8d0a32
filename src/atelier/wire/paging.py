"""Lists over HTTP: `limit`, `cursor`, and the `Link` to the next page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from atelier.wire import cursors
from atelier.wire.complaints import refused
from atelier.wire.numbers import whole

DEFAULT_LIMIT, MAX_LIMIT = 50, 500  # records of one page
CURSOR_CHARACTERS = 64  # ours have 19; the rest is for what may come
CURSOR_PATTERN = "^[A-Za-z0-9_-]+$"
LIMIT_TEXT = "Records of one page."
CURSOR_TEXT = "Where the page begins; take it from `Link` of the page before."
OWN = ("limit", "cursor")


@dataclass(frozen=True, slots=True)
class Keyset:
    """At most `limit` records with ids below `before` (None: from the newest)."""

    limit: int
    before: int | None
    path: str
    filters: tuple[tuple[str, str], ...]

    @property
    def fetch(self) -> int:
        """Rows to ask for: one more than the page holds tells whether there is another page."""
        return self.limit + 1

    def headers(self, last_id: int) -> dict[str, str]:
        """`Link` to the page below `last_id`, with the query's other parameters."""
        own = [("limit", str(self.limit)), ("cursor", self.cursor(last_id))]
        return {"Link": f'<{self.path}?{urlencode([*self.filters, *own])}>; rel="next"'}

    def cursor(self, last_id: int) -> str:
        """The cursor of the page that begins below `last_id`."""
        return cursors.encode(last_id, _listed(self.path, self.filters))


def keyset(path: str, query: str, limit: int, cursor: str | None) -> Keyset:
    """The page of a list that a query string asks for. Raises Invalid for a foreign cursor."""
    pairs = parse_qsl(query, keep_blank_values=True)
    filters = tuple((name, value) for name, value in pairs if name not in OWN)
    before = None if cursor is None else _before(cursor, _listed(path, filters))
    return Keyset(limit, before, path, filters)


def read_limit(given: str | None) -> int:
    """The number in `limit`, for a framework that does not read it itself. Raises Invalid."""
    if given is None:
        return DEFAULT_LIMIT
    return whole(given, MAX_LIMIT, "query", "limit")


def _before(cursor: str, listed: tuple[object, ...]) -> int:
    try:
        return cursors.decode(cursor, listed)
    except cursors.Unreadable:
        raise refused("This is no cursor; take one from `Link`.", "query", "cursor") from None
    except cursors.Foreign:
        message = "This cursor belongs to another list or other filters."
        raise refused(message, "query", "cursor") from None


def _listed(path: str, filters: Iterable[tuple[str, str]]) -> tuple[object, ...]:
    """The order of filters makes no difference."""
    return path, sorted(filters)
