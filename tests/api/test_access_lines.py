"""Access lines name the user, whichever part of the API answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx2

    from tests.api.people import Person


@pytest.mark.parametrize(
    "path",
    [
        "/api/users/me",
        "/api/images/{image_id}/info",
        "/api/images/404404/info",
        "/api/files/{file_id}/",
        "/api/nothing",
    ],
)
async def test_an_access_line_names_the_user(
    client: httpx2.AsyncClient,
    ada: Person,
    things: dict[str, object],
    path: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of FastAPI's routes, of the shortcuts and of Django.

    `-` stands where no token was judged, or a bad one.
    """
    path = path.format(**things)
    with caplog.at_level(logging.INFO, "atelier.access"):
        answer = await client.get(path, headers=ada.headers)
        await client.get(path, headers={"Authorization": "Bearer no"})
    lines = [r.getMessage() for r in caplog.records if r.name == "atelier.access"]
    user = "-" if path == "/api/nothing" else ada.id
    assert lines[0].startswith(f"127.0.0.1 {user} GET {path} {answer.status_code} ")
    assert lines[1].startswith(f"127.0.0.1 - GET {path} 40")
