"""Problems that tests expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.wire.problems import MEDIA_TYPE

if TYPE_CHECKING:
    import httpx2


def is_problem(answer: httpx2.Response, status: int, slug: str) -> bool:
    """True if an answer is this problem."""
    return (
        answer.status_code == status
        and answer.headers["content-type"] == MEDIA_TYPE
        and answer.json()["status"] == status
        and answer.json()["type"] == f"/problems/{slug}"
    )
