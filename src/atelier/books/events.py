"""Events about books: the types, and the data that each carries."""

from __future__ import annotations

from typing import Any

CREATED = "book.created"
UPDATED = "book.updated"
DELETED = "book.deleted"
TYPES = (CREATED, UPDATED, DELETED)
SUBJECTS = "books/"  # followed by the id


def state(title: str, author: str, publication_date: str) -> dict[str, Any]:
    """The facts about a book; its `id` is among an event's data, too."""
    return {"title": title, "author": author, "publication_date": publication_date}
