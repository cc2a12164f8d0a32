"""Pages with generated tables between comments, and words that are written by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping

BLOCK = re.compile(r"(<!-- figures: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, made: Mapping[str, str]) -> str:
    """The page with each block regenerated. Raises KeyError for a block without a generator."""
    return BLOCK.sub(lambda match: match[1] + made[match[2]] + match[3], text)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
