"""A client as it should be: it sends a request again, under its key, until it is acknowledged."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.chaos.ledger import Ledger

ANSWER_SECONDS = 60.0  # until a client takes a connection for dead
PAUSE_SECONDS = 0.2  # between tries
STUCK_SECONDS = 600.0  # of tries in vain, whatever is killed meanwhile
BUSY = (429, 503)  # "come again"
RUNNING = "/problems/idempotency-key-running"
SHOWN = 300  # characters of an answer


class StuckError(Exception):
    """A request that is never acknowledged."""


class Client:
    """One user's connections to the API; every answer goes into the ledger."""

    def __init__(self, url: str, token: str, ledger: Ledger) -> None:
        self.ledger = ledger
        self._http = httpx2.AsyncClient(
            base_url=url,
            timeout=ANSWER_SECONDS,
            headers={"Authorization": f"Bearer {token}"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def keyed(
        self, operation: str, path: str, good: Collection[int], **request: Any
    ) -> httpx2.Response:
        """POST under a new key until the answer is a good one."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return await self.ask(operation, "POST", path, good, headers=headers, **request)

    async def ask(
        self,
        operation: str,
        method: str,
        path: str,
        good: Collection[int],
        *,
        good_again: Collection[int] = (),
        **request: Any,
    ) -> httpx2.Response:
        """Send a request until the answer is a good one.

        `good_again` are good as well once an earlier try may have had its effect. Any answer that
        says neither this nor "come again" is a fault. Raises StuckError.
        """
        deadline = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = await self._http.request(method, path, **request)
            except httpx2.HTTPError as error:
                self.ledger.answers[operation, type(error).__name__] += 1
            else:
                self.ledger.answers[operation, str(answer.status_code)] += 1
                if answer.status_code in good:
                    return answer
                if not excused(answer):
                    self.ledger.fault(f"{operation}: {method} {path}: {described(answer)}")
            good = {*good, *good_again}
            await asyncio.sleep(PAUSE_SECONDS)
        self.ledger.fault(f"{operation}: {method} {path} was never acknowledged")
        raise StuckError(operation)


def excused(answer: httpx2.Response) -> bool:
    """Whether a client may see this when something is killed."""
    if answer.status_code == 409:
        return bool(answer.json().get("type") == RUNNING)
    return answer.status_code in BUSY


def described(answer: httpx2.Response) -> str:
    """The status, the beginning of the body, and what to look for in the logs."""
    number = answer.headers.get("x-request-id", "-")
    return f"{answer.status_code} {answer.text[:SHOWN]} (request {number})"
