"""Lists over HTTP: `limit`, `cursor`, and the `Link` to the next page."""

from __future__ import annotations

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
    """At most `limit` records behind the position of a cursor (None: from the beginning)."""

    limit: int
    path: str
    filters: tuple[tuple[str, str], ...]
    given: str | None

    @property
    def fetch(self) -> int:
        """Rows to ask for: one more than the page holds tells whether there is another page."""
        return self.limit + 1

    @property
    def before(self) -> int | None:
        """The id below which the page of a list by id begins. Raises Invalid."""
        position = self.position()
        return None if position is None else position[0]

    def position(self, numbers: int = 1) -> tuple[int, ...] | None:
        """The position behind which the page begins, of so many numbers.

        Raises Invalid for a cursor that is not of this list and these filters.
        """
        if self.given is None:
            return None
        try:
            return cursors.decode(self.given, self._listed(), numbers)
        except cursors.Unreadable:
            raise refused("This is no cursor; take one from `Link`.", "query", "cursor") from None
        except cursors.Foreign:
            message = "This cursor belongs to another list or other filters."
            raise refused(message, "query", "cursor") from None

    def headers(self, *position: int) -> dict[str, str]:
        """`Link` to the page behind a position, with the query's other parameters."""
        own = [("limit", str(self.limit)), ("cursor", self.cursor(*position))]
        return {"Link": f'<{self.path}?{urlencode([*self.filters, *own])}>; rel="next"'}

    def cursor(self, *position: int) -> str:
        """The cursor of the page that begins behind a position."""
        return cursors.encode(position, self._listed())

    def _listed(self) -> tuple[object, ...]:
        """The order of filters makes no difference."""
        return self.path, sorted(self.filters)


def keyset(path: str, query: str, limit: int, cursor: str | None) -> Keyset:
    """The page of a list that a query string asks for."""
    pairs = parse_qsl(query, keep_blank_values=True)
    filters = tuple((name, value) for name, value in pairs if name not in OWN)
    return Keyset(limit, path, filters, cursor)


def read_limit(given: str | None) -> int:
    """The number in `limit`, for a framework that does not read it itself. Raises Invalid."""
    if given is None:
        return DEFAULT_LIMIT
    return whole(given, MAX_LIMIT, "query", "limit")
