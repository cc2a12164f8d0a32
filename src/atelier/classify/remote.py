"""Asks the remote service for the class of a picture, with retries, and says what came of it."""

from __future__ import annotations

import codecs
import email.utils
import math
import time
from urllib.parse import quote

import msgspec

from atelier.classify.breaker import CircuitBreaker
from atelier.classify.http_client import BadAnswer, Client, Response
from atelier.classify.outcomes import Answer, Failed, Kind, Transformed
from atelier.observe.logs import Redactor
from atelier.retry import pause

LABEL_MOST = 200
"""Longest class name, in characters."""

SHOWN_MOST = 80
"""Characters or bytes of a wrong answer that are shown."""

GZIP = b"\x1f\x8b"  # how a gzip file begins

BACKOFF_SECONDS = 0.2
BACKOFF_MOST_SECONDS = 10.0

RESTED = (408, 425, 429, 503)
"""Statuses that may ask for a pause."""

PASSING = (408, 425)
"""Statuses of a request that came too slow or too early (RFC 9110, RFC 8470): another may not."""

REST_SECONDS = 1.0
"""Seconds to pause after a 429 that does not say how long."""

REFUSED = (401, 403, 407)
"""Statuses about the caller, not about a picture."""

MISPLACED = (404, 405, 410)
"""Statuses about the URL, until the first answer has proved it right."""


class Said(msgspec.Struct):
    """The service's answer, as JSON."""

    label: str | int = msgspec.field(name="class")
    score: float


_said = msgspec.json.Decoder(Said)
_redact = Redactor()


class _Trouble(Exception):
    """A try failed in a way that another may not."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.detail = detail


class Remote:
    """The classification service, behind a client and a circuit breaker."""

    def __init__(self, client: Client, breaker: CircuitBreaker, tries: int) -> None:
        self._client = client
        self._breaker = breaker
        self._tries = tries
        self._answered = False

    async def classify(self, picture: Transformed) -> Answer:
        """Ask until there is an answer.

        Raises Failed if the picture is at fault, Drained if the run ends first.
        """
        target = self._target(picture)
        attempts = 0
        while True:
            trying = await self._breaker.enter()
            started = time.perf_counter_ns()
            try:
                response = await self._ask(target, picture.jpeg)
                if response is None:
                    # A pause costs no try. A probe that got one must let another request probe.
                    if trying:
                        self._breaker.abandon()
                    continue
                said = self._read(response)
            except Failed as failed:
                # The service works; this picture is at fault.
                self._breaker.succeeded()
                failed.attempts = attempts + 1
                raise
            except _Trouble as trouble:
                # While the service counts as down, failures are not the picture's and cost no try.
                wrong = trouble.kind == "bad_answer"
                if self._breaker.failed(trouble.detail, trying=trying, wrong=wrong):
                    continue
                attempts += 1
                if attempts >= self._tries:
                    raise Failed(trouble.kind, trouble.detail, attempts) from trouble
                await self._breaker.sleep(pause(attempts, BACKOFF_SECONDS, BACKOFF_MOST_SECONDS))
                continue
            self._breaker.succeeded()
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
        """One request; None if the service asked for a pause instead of answering."""
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
        self._breaker.rest(rest, f"status {response.status}")
        return None

    def _read(self, response: Response) -> Said:
        status = response.status
        if status == 200:
            return _decoded(response)
        detail = f"status {status}"
        if status >= 500:
            raise _Trouble("remote_5xx", detail)
        if status in (*REFUSED, *PASSING) or (status in MISPLACED and not self._answered):
            raise _Trouble("remote_4xx", detail)
        if status >= 400:
            raise Failed(
                "remote_4xx", f"{detail}: {response.body[:100].decode('utf-8', 'replace')}"
            )
        if status >= 300:
            where = _redact(response.headers.get("location", "")[:SHOWN_MOST]) or "nowhere"
            raise _Trouble("bad_answer", f"{detail} to {where}: redirects are not followed")
        raise _Trouble("bad_answer", f"{detail}: an answer has the status 200")


def _decoded(response: Response) -> Said:
    """The answer in a body. Raises _Trouble that says what the body is instead."""
    body = response.body
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity") or body.startswith(GZIP):
        coding = "gzip" if body.startswith(GZIP) else coding[:SHOWN_MOST]
        raise _Trouble("bad_answer", f"the body is coded as {coding}, which was not asked for")
    if body.startswith(codecs.BOM_UTF8):
        raise _Trouble("bad_answer", "the JSON begins with a byte order mark")
    try:
        said = _said.decode(body)
    except msgspec.ValidationError as error:
        wanted = 'not {"class": ..., "score": number}'
        raise _Trouble("bad_answer", f"{wanted}: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = body[:SHOWN_MOST].decode("utf-8", "replace")
        raise _Trouble("bad_answer", f"not JSON ({error}): {shown!r}") from error
    if not math.isfinite(said.score):
        raise _Trouble("bad_answer", "the score is no finite number")
    return said


def rest_of(response: Response) -> float | None:
    """Seconds that a response asks to wait before the next request; None if it does not."""
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
