"""A name that is not ours reaches nothing, at any edge: pages of others cannot read here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.people import is_problem

if TYPE_CHECKING:
    import httpx2

    from tests.api.people import Person

REBOUND = {"Host": "evil.example:8000"}
PATHS = ("/", "/docs", "/openapi.json", "/api/books", "/api/images/1", "/api/files/", "/metrics",
         "/healthz", "/readyz", "/nothing")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_another_name_is_misdirected(
    client: httpx2.AsyncClient, ada: Person, path: str
) -> None:
    """On loopback every path answers another's name with 421, with a good token, too."""
    answer = await client.get(path, headers=ada.headers | REBOUND)
    assert is_problem(answer, 421), answer.text
    assert answer.json()["type"] == "/problems/unknown-host"


async def test_changes_by_another_name_change_nothing(client: httpx2.AsyncClient) -> None:
    """Neither an account nor an upload is taken by way of another's name."""
    account = {"email": "eve@example.org", "password": "a quiet workshop"}
    for path, body in (("/api/users", {"json": account}), ("/api/upload/", {"content": b"x"})):
        answer = await client.post(path, headers=REBOUND, **body)  # type: ignore[arg-type]
        assert is_problem(answer, 421)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.2", "[::1]:8000"])
async def test_names_of_this_machine_are_taken(
    client: httpx2.AsyncClient, ada: Person, host: str
) -> None:
    """Any loopback name with any port reaches FastAPI, a shortcut and Django."""
    for path in ("/api/books", "/api/users/me", "/api/files/"):
        answer = await client.get(path, headers=ada.headers | {"Host": host})
        assert answer.status_code == 200


async def test_health_checks_may_name_the_address(client: httpx2.AsyncClient) -> None:
    """As orchestrators do, who know a pod by its address; nothing else may be asked so."""
    host = {"Host": "10.1.2.3:8000"}
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/docs", 421), ("/api/books", 421)):
        assert (await client.get(path, headers=host)).status_code == status
