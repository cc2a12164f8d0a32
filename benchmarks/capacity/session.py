"""A temporary user of the instance, signed in for one run and deleted at its end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any
from urllib.parse import urlencode

import msgspec

from atelier.classify.http_client import BadAnswer, Client, Endpoint, Response
from atelier.errors import AtelierError

ANSWER_SECONDS = 30.0
"""Time that one request may take, under any load."""

TRIES = 30
"""Tries of what has to succeed, signing in and cleaning up, on an overloaded instance."""

TRY_AGAIN_SECONDS = 1.0

DELETE_SECONDS = 300.0
"""Time that deleting the user may take: everything it owns goes in one transaction."""

GONE = (401, 403, 404)
"""Answers to a deletion that say that there is nothing left to delete."""


class Unwilling(AtelierError):
    """The instance would not do what the measurement needs."""

    slug = "capacity-unwilling"


class Session:
    """A user of its own at `url`; `name` marks everything that it makes."""

    def __init__(self, url: str) -> None:
        self.name = f"capacity-{secrets.token_hex(6)}"
        self.email = f"{self.name}@example.org"
        self.password = secrets.token_urlsafe(18)
        self.user_id: int | None = None
        self._asked = False
        self._url = url
        self._refresh = ""
        self._requests: dict[str, bytes] = {}
        self._endpoint = Endpoint(url)
        self.client = Client(self._endpoint, ANSWER_SECONDS)

    async def open(self) -> float:
        """Sign up and sign in; seconds that the access token lives."""
        account = {"email": self.email, "password": self.password}
        self._asked = True
        made = await self.insist(
            "POST", "/api/users", "application/json", msgspec.json.encode(account), good=(201,)
        )
        self.user_id = int(msgspec.json.decode(made.body)["id"])
        return await self.sign_in()

    async def sign_in(self) -> float:
        """Sign in again; seconds that the access token lives."""
        form = urlencode({"username": self.email, "password": self.password}).encode()
        return self._take(
            await self.insist("POST", "/api/auth/token", "application/x-www-form-urlencoded", form)
        )

    async def stay(self, seconds: float) -> None:
        """Renew the token, which lives so many seconds, for as long as this runs."""
        while True:
            await asyncio.sleep(max(1.0, seconds / 2))
            body = msgspec.json.encode({"refresh_token": self._refresh})
            try:
                seconds = self._take(
                    await self.insist(
                        "POST", "/api/auth/refresh", "application/json", body, tries=1
                    )
                )
            except Unwilling:
                seconds = await self.sign_in()

    def request(self, method: str, target: str, media_type: str = "", body: bytes = b"") -> bytes:
        """A request of this user, whole."""
        return self._endpoint.request(method, self._endpoint.path + target, media_type, body)

    def get(self, target: str) -> bytes:
        """A GET request, made once and kept: making it would cost as much as sending it."""
        made = self._requests.get(target)
        if made is None:
            made = self._requests[target] = self.request("GET", target)
        return made

    async def insist(
        self,
        method: str,
        target: str,
        media_type: str = "",
        body: bytes = b"",
        *,
        good: tuple[int, ...] = (200,),
        tries: int = TRIES,
    ) -> Response:
        """Ask until the answer is a good one.

        One that will not change, or the last of all tries, raises Unwilling.
        """
        for left in reversed(range(tries)):
            try:
                answer = await self.client.send(self.request(method, target, media_type, body))
            except (OSError, BadAnswer) as error:
                said = str(error) or type(error).__name__
            else:
                if answer.status in good:
                    return answer
                said = f"status {answer.status} {answer.body[:200].decode('utf-8', 'replace')}"
                if answer.status < 500 and answer.status != 429:
                    break
            if left:
                await asyncio.sleep(TRY_AGAIN_SECONDS)
        raise Unwilling(f"{method} {target}: {said}")

    async def recall(self) -> bool:
        """Sign in for the last time; False when there is no such user."""
        self.client.close()
        self.client = Client(self._endpoint, DELETE_SECONDS)
        if not self._asked:
            return False
        if self.user_id is None and not await self._exists():
            return False
        await self.sign_in()
        self.user_id = int(
            msgspec.json.decode((await self.insist("GET", "/api/users/me")).body)["id"]
        )
        return True

    async def _exists(self) -> bool:
        """True if a sign-up whose answer was not awaited succeeded, now or a little later."""
        for _ in range(3):
            with contextlib.suppress(Unwilling):
                await self.sign_in()
                return True
            await asyncio.sleep(TRY_AGAIN_SECONDS)
        return False

    async def delete(self) -> None:
        """Delete the user with everything it owns. Raises Unwilling."""
        await self.insist("DELETE", f"/api/users/{self.user_id}", good=(204, *GONE))

    def left(self) -> str:
        """The notice of what stays when it could not be cleaned up, and how to remove it."""
        return (
            f"the user {self.email} stays with what it made: sign in with the password "
            f"{self.password}, delete the "
            f"books titled {self.name} and then /api/users/{self.user_id or '{id}'}"
        )

    def _take(self, answer: Response) -> float:
        pair: dict[str, Any] = msgspec.json.decode(answer.body)
        self._refresh = pair["refresh_token"]
        self._endpoint = Endpoint(self._url, [("Authorization", f"Bearer {pair['access_token']}")])
        self._requests.clear()
        return float(pair["expires_in"])
