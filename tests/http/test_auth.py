"""The CurrentUser dependency and `authenticate`: who is accepted, and how others are refused."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from atelier.auth import Authenticator, Claims, Principal, Tokens
from atelier.http import problems
from atelier.http.auth import CurrentUser
from tests.lookups import Everybody
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a secret of the tests, long enough to sign"
SESSION = "8a6e0804-2bd0-4672-b79d-d97027f9071a"


class Resources(Everybody):
    """The resources of authentication: an authenticator, ended sessions, a count of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = Tokens(SECRET)
        self.authenticator = Authenticator(self.tokens, self)
        self.ended: set[str] = set()
        self.broken = False
        self.asked = 0

    async def session(self, claims: Claims) -> Principal | None:
        """The user, if the session is open."""
        self.asked += 1
        if self.broken:
            raise ConnectionRefusedError
        return None if claims.session_id in self.ended else await super().session(claims)

    def bearer(self, user_id: int = 7, session_id: str = SESSION) -> str:
        """The Authorization value of a new token."""
        return f"Bearer {self.tokens.issue(user_id, session_id)}"


@dataclass
class Service:
    """An application with one route, its resources, and a client."""

    app: FastAPI
    resources: Resources
    client: httpx2.AsyncClient

    async def ask(self, *authorizations: str, **options: Any) -> httpx2.Response:
        """Ask who one is."""
        headers = [("Authorization", value) for value in authorizations]
        return await self.client.get("/me", headers=headers, **options)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Served by uvicorn on a loopback socket."""
    app = FastAPI()
    problems.install(app)
    app.state.resources = resources = Resources()

    @app.get("/me")
    async def me(user: CurrentUser) -> dict[str, Any]:
        return {"user_id": user.user_id, "session_id": user.session_id}

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
        yield Service(app, resources, client)
    server.should_exit = True
    await serving


async def test_a_valid_token_names_its_user(service: Service) -> None:
    """The route gets user and session."""
    answer = await service.ask(service.resources.bearer())
    assert (answer.status_code, answer.json()) == (200, {"user_id": 7, "session_id": SESSION})


async def test_the_session_is_asked_for_once(service: Service) -> None:
    """The next requests with this token cost no query."""
    value = service.resources.bearer()
    for _ in range(5):
        assert (await service.ask(value)).status_code == 200
    assert service.resources.asked == 1


async def test_users_are_not_mixed_up(service: Service) -> None:
    """However their requests interleave."""
    values = {user_id: service.resources.bearer(user_id) for user_id in range(1, 20)}
    answers = await asyncio.gather(*(service.ask(value) for value in list(values.values()) * 3))
    assert [answer.json()["user_id"] for answer in answers] == list(values) * 3


REFUSED: dict[str, tuple[str, ...]] = {
    "no header": (),
    "empty": ("",),
    "scheme alone": ("Bearer",),
    "rubbish": ("Bearer x.y.z",),
    "basic": ("Basic YTpi",),
    "another scheme": ("Token abc",),
    "expired": (f"Bearer {Tokens(SECRET, access_seconds=-1).issue(7, SESSION)}",),
    "another secret": (f"Bearer {Tokens(SECRET[::-1]).issue(7, SESSION)}",),
    "another audience": (f"Bearer {Tokens(SECRET, audience='elsewhere').issue(7, SESSION)}",),
    "long": ("Bearer " + "x" * 5000,),
    "brackets": ("Bearer " + "[" * 3000,),
    "not ASCII": ("Bearer \u00e9.\u00e9.\u00e9",),
}


@pytest.mark.parametrize("values", REFUSED.values(), ids=REFUSED)
async def test_anything_else_is_answered_401(service: Service, values: tuple[str, ...]) -> None:
    """As a problem, with the scheme that is wanted, and without asking the database."""
    answer = await service.ask(*(value.encode("latin-1") for value in values))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith("/unauthenticated")
    assert service.resources.asked == 0


async def test_a_token_in_the_query_does_not_count(service: Service) -> None:
    """It would end up in logs."""
    token = service.resources.bearer().removeprefix("Bearer ")
    assert (await service.ask(params={"access_token": token, "user_id": 7})).status_code == 401


async def test_an_ended_session_is_refused(service: Service) -> None:
    """Also when its token was seen before, once it is dropped."""
    value = service.resources.bearer()
    assert (await service.ask(value)).status_code == 200
    service.resources.ended.add(SESSION)
    service.resources.authenticator.drop(session_id=SESSION)
    assert (await service.ask(value)).status_code == 401


async def test_when_sessions_cannot_be_checked_the_answer_is_no_401(service: Service) -> None:
    """A client must not throw its token away because the database is restarting.

    What was seen lately still passes.
    """
    seen = service.resources.bearer()
    await service.ask(seen)
    service.resources.broken = True
    assert (await service.ask(seen)).status_code == 200
    with pytest.raises(ConnectionRefusedError):
        await service.resources.authenticator.authenticate(service.resources.bearer())


async def test_openapi_shows_the_password_form(service: Service) -> None:
    """So that the Authorize button of Swagger UI works."""
    document = (await service.client.get("/openapi.json")).json()
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert scheme["type"] == "oauth2"
    assert scheme["flows"]["password"]["tokenUrl"] == "/api/auth/token"
    assert document["paths"]["/me"]["get"]["security"] == [{"bearer": []}]
