"""Asks the remote service for the class of a picture, as often as it takes.

Says at last what came of it.
"""

from __future__ import annotations

import email.utils
import math
import time
from urllib.parse import quote

import msgspec

from atelier.classify.breaker import CircuitBreaker
from atelier.classify.http_client import BadAnswer, Client, Response
from atelier.classify.outcomes import Answer, Failed, Kind, Transformed
from atelier.retry import pause

LABEL_MOST = 200
"""Characters of a class's name."""

BACKOFF_SECONDS = 0.2
BACKOFF_MOST_SECONDS = 10.0

RESTED = (429, 503)
"""Statuses that may ask for a rest."""

REST_SECONDS = 1.0
"""The rest after a 429 that does not say how long."""

REFUSED = (401, 403, 407)
"""Statuses that are about the caller, not about a picture."""

MISPLACED = (404, 405, 410)
"""Statuses that are about the URL, until the first answer has shown it to be right."""


class Said(msgspec.Struct):
    """The service's answer to one picture, as JSON."""

    label: str | int = msgspec.field(name="class")
    score: float


_said = msgspec.json.Decoder(Said)


class _Trouble(Exception):
    """One try failed in a way that another may not."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.detail = detail


class Remote:
    """The classification service behind a client and a gate."""

    def __init__(self, client: Client, gate: CircuitBreaker, tries: int) -> None:
        self._client = client
        self._gate = gate
        self._tries = tries
        self._answered = False

    async def classify(self, picture: Transformed) -> Answer:
        """Ask until there is an answer; Failed when it is the picture's fault, Drained when the run ends before."""
        target = self._target(picture)
        attempts = 0
        while True:
            trying = await self._gate.enter()
            started = time.perf_counter_ns()
            try:
                response = await self._ask(target, picture.jpeg)
                if response is None:
                    if trying:
                        self._gate.abandon()
                    continue
                said = self._read(response)
            except Failed as failed:
                self._gate.succeeded()
                failed.attempts = attempts + 1
                raise
            except _Trouble as trouble:
                if self._gate.failed(trouble.detail, trying=trying):
                    continue
                attempts += 1
                if attempts >= self._tries:
                    raise Failed(trouble.kind, trouble.detail, attempts) from trouble
                await self._gate.sleep(pause(attempts, BACKOFF_SECONDS, BACKOFF_MOST_SECONDS))
                continue
            self._gate.succeeded()
            self._answered = True
            elapsed_us = (time.perf_counter_ns() - started) // 1000
            return Answer(str(said.label)[:LABEL_MOST], said.score, elapsed_us, attempts + 1)

    def _target(self, picture: Transformed) -> str:
        endpoint = self._client.endpoint
        magic = "&".join(f"magic={quote(repr(value), safe='')}" for value in picture.magic)
        return (
            f"{endpoint.path}/api/classify?"
            + (f"{endpoint.query}&" if endpoint.query else "")
            + magic
        )

    async def _ask(self, target: str, jpeg: bytes) -> Response | None:
        """One request; None when the service asked for a rest instead of answering."""
        try:
            response = await self._client.post(target, "image/jpeg", jpeg)
        except TimeoutError:
            raise _Trouble("unreachable", "no answer in time") from None
        except OSError as error:
            raise _Trouble(
                "unreachable", error.strerror or str(error) or type(error).__name__
            ) from error
        except BadAnswer as error:
            raise _Trouble("bad_answer", str(error)) from error
        rest = rest_of(response)
        if rest is None:
            return response
        self._gate.rest(rest, f"status {response.status}")
        return None

    def _read(self, response: Response) -> Said:
        status = response.status
        if status == 200:
            return _decoded(response.body)
        detail = f"status {status}"
        if status >= 500:
            raise _Trouble("remote_5xx", detail)
        if status in REFUSED or (status in MISPLACED and not self._answered):
            raise _Trouble("remote_4xx", detail)
        if status >= 400:
            raise Failed(
                "remote_4xx", f"{detail}: {response.body[:100].decode('utf-8', 'replace')}"
            )
        raise _Trouble("bad_answer", detail)


def _decoded(body: bytes) -> Said:
    try:
        said = _said.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _Trouble("bad_answer", f"not an answer: {error}") from error
    if not math.isfinite(said.score):
        raise _Trouble("bad_answer", "not an answer: the score is no number")
    return said


def rest_of(response: Response) -> float | None:
    """Seconds that an answer asks to wait before the next request; none when it does not."""
    if response.status not in RESTED:
        return None
    after = response.headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():
        return float(after)
    if after and (date := _date(after)) is not None:
        return max(0.0, date - time.time())
    return REST_SECONDS if response.status == 429 else None


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
