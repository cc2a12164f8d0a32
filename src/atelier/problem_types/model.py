"""What is told of every type of problem."""

from __future__ import annotations

from typing import NamedTuple


class ProblemType(NamedTuple):
    """The text about a slug. `description` is Markdown of plain text and `code` only."""

    title: str
    status: int | None  # None: only a reason in the record of a picture or file that failed
    description: str
    headers: str = ""  # its headers, as a phrase after "with"
