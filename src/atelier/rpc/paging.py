"""Page tokens and page sizes by AIP-158, newest first by id. Knows no table.

A token is the cursor of a method and its filters; sizes may change on the way.
"""

from __future__ import annotations

from atelier.rpc.errors import invalid
from atelier.wire import cursors

DEFAULT_SIZE, MAX_SIZE = 50, 1000  # of one page


def page_size(asked: int) -> int:
    """The size of a page: 0 asks for the default, too much for the most that is given.

    Raises Invalid for a negative number.
    """
    if asked < 0:
        raise invalid("page_size", "must not be negative")
    return min(asked, MAX_SIZE) or DEFAULT_SIZE


def page_token(before: int, *query: str) -> str:
    """The token of the page whose ids are below `before`.

    `query` is the method and its filters.
    """
    return cursors.encode((before,), query)


def read_token(token: str, *query: str) -> int | None:
    """The id that `page_token` was given; None for the first page.

    Raises Invalid for any other token.
    """
    if not token:
        return None
    try:
        return cursors.decode(token, query)[0]
    except cursors.Unreadable:
        message = "is not a token of ours; take it from the page before"
        raise invalid("page_token", message) from None
    except cursors.Foreign:
        raise invalid("page_token", "belongs to another list or other filters") from None
