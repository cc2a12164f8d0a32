"""Requests to the service: what is retried, what fails a picture, and waiting for outages."""

from __future__ import annotations

import asyncio
import gzip
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from atelier.classify.breaker import FAILURES, WRONG_ANSWERS, CircuitBreaker, Drained
from atelier.classify.http_client import (
    ANSWER_MOST,
    BadAnswer,
    BadURL,
    Client,
    Endpoint,
    Response,
)
from atelier.classify.outcomes import Failed, Transformed
from atelier.classify.remote import Remote, rest_of
from tests.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PICTURE = Transformed(b"\xff\xd8jpeg", (1.5, 2e20, 0.1))
CAT = b'{"class":"cat","score":0.5}'


def answer(body: bytes = CAT, status: int = 200, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Script:
    """Answers by a script: bytes to send, None to hang up; the last entry again and again."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.heard: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                self.heard.append(head + await reader.readexactly(length))
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if said is None:
                    break
                writer.write(said)
                if b"ontent-" not in said and b"ransfer-" not in said:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*answers: bytes | None) -> AsyncIterator[tuple[Script, str]]:
    script = Script(*answers)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    try:
        yield script, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def remote(
    url: str, *, tries: int = 3, timeout: float = PATIENCE_SECONDS
) -> tuple[Remote, CircuitBreaker, list[str]]:
    said: list[str] = []
    breaker = CircuitBreaker(first=0.05, longest=0.1, tell=said.append)
    return Remote(Client(Endpoint(url), timeout), breaker, tries), breaker, said


async def test_the_request_is_as_documented() -> None:
    """One magic per channel, exactly; the media type.

    The path behind the URL's own, with its query.
    """
    async with scripted(answer()) as (script, url):
        asked, *_ = remote(f"{url}/base/?key=1")
        said = await asked.classify(PICTURE)
    line, *headers = script.heard[0].split(b"\r\n\r\n")[0].split(b"\r\n")
    assert line == b"POST /base/api/classify?key=1&magic=1.5&magic=2e%2B20&magic=0.1 HTTP/1.1"
    assert b"Content-Type: image/jpeg" in headers
    assert script.heard[0].endswith(PICTURE.jpeg)
    assert (said.label, said.score, said.attempts) == ("cat", 0.5, 1)


async def test_a_connection_is_used_again() -> None:
    """Requests one after the other share a connection.

    One that was closed meanwhile costs no try.
    """
    async with scripted(answer(), answer(), None, answer()) as (script, url):
        asked, *_ = remote(url, tries=1)
        for _ in range(3):
            assert (await asked.classify(PICTURE)).attempts == 1
    assert script.connections == 2


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(b"no", 500), "remote_5xx"),
        (answer(b"no", 503), "remote_5xx"),
        (answer(b"no", 401), "remote_4xx"),
        (answer(b"no", 408), "remote_4xx"),
        (answer(b"no", 425), "remote_4xx"),
        (answer(b"<html>"), "bad_answer"),
        (answer(b'{"class":"cat"}'), "bad_answer"),
        (answer(b'{"class":null,"score":1}'), "bad_answer"),
        (answer(b'{"class":"cat","score":1e999}'), "bad_answer"),
        (answer(b'{"class":"\xff","score":1}'), "bad_answer"),
        (answer(b"", 302, "Location: /\r\n"), "bad_answer"),
        (b"SSH-2.0-OpenSSH\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\n", "bad_answer"),
        (answer(b"x" * (ANSWER_MOST + 1)), "bad_answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (ANSWER_MOST + 1), "bad_answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * (ANSWER_MOST // 5), "bad_answer"),
        (None, "unreachable"),
    ],
)
async def test_what_may_pass_is_tried_again_and_fails_at_last(
    said: bytes | None, kind: str
) -> None:
    """Errors that may be transient use up the tries and then fail the picture by their kind."""
    async with scripted(said) as (_, url):
        asked, *_ = remote(url, tries=2)
        with pytest.raises(Failed) as caught:
            await asked.classify(PICTURE)
    assert (caught.value.kind, caught.value.attempts) == (kind, 2)


GZIPPED = gzip.compress(CAT, mtime=0)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(status=201), "status 201: an answer has the status 200"),
        (answer(b"", 204), "status 204"),
        (answer(b"", 302, "Location: http://u:p@x/y\r\n"), r"302 to http://\S*@x/y: redirects"),
        (answer(b"", 307), "to nowhere"),
        (answer(GZIPPED, headers="Content-Encoding: gzip\r\n"), "coded as gzip"),
        (answer(GZIPPED), "coded as gzip"),
        (answer(headers="Content-Encoding: BR\r\n"), "coded as br"),
        (answer(b"\xef\xbb\xbf" + CAT), "byte order mark"),
        (answer(b"<html>hello"), "not JSON .*<html>hello"),
        (answer(b"[1]"), "not {.class.*Expected"),
        (answer(b'{"label":"cat","score":1}'), "missing required field `class`"),
    ],
)
async def test_a_service_that_answers_wrongly_is_given_up(said: bytes, words: str) -> None:
    """A run ends after some wrong answers in a row, and tells what is wrong with them."""
    async with scripted(said) as (script, url):
        asked, breaker, told = remote(url, tries=100)
        with pytest.raises(Drained):
            await asked.classify(PICTURE)
    assert re.search(words, breaker.given_up)
    assert (told[-1], len(script.heard)) == (
        f"the service answers wrongly ({breaker.given_up}): giving up",
        FAILURES + WRONG_ANSWERS,
    )


async def test_wrong_answers_amid_others_are_an_outage() -> None:
    """Only those in a row end a run: a page of a proxy's passes, as does an outage."""
    wrong, down = answer(b"<html>"), answer(b"", 500)
    said = [*[down] * FAILURES, *[wrong] * (WRONG_ANSWERS - 1), down, wrong, answer()]
    async with scripted(*said) as (_, url):
        asked, breaker, _ = remote(url, tries=100)
        assert (await asked.classify(PICTURE)).label == "cat"
    assert not breaker.given_up


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_a_refused_picture_is_not_sent_again(status: int) -> None:
    """A 4xx about the picture fails it at once."""
    async with scripted(answer(b"why", status)) as (script, url):
        asked, *_ = remote(url)
        with pytest.raises(Failed, match="remote_4xx"):
            await asked.classify(PICTURE)
    assert len(script.heard) == 1


async def test_a_wrong_url_is_not_the_pictures_fault() -> None:
    """404 counts as an outage until the service has answered once, then as the picture's fault."""
    async with scripted(answer(b"", 404), answer(), answer(b"", 404)) as (script, url):
        asked, *_ = remote(url)
        assert (await asked.classify(PICTURE)).attempts == 2
        with pytest.raises(Failed, match="404"):
            await asked.classify(PICTURE)
    assert len(script.heard) == 3


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (CAT[:5], len(CAT) - 5, CAT[5:]),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + CAT,
        answer(headers="Connection: close\r\n"),
    ],
)
async def test_every_way_of_framing_an_answer_is_read(said: bytes) -> None:
    """Chunked, after a 100, ended by closing, and closed after: two in a row work."""
    async with scripted(said) as (_, url):
        asked, *_ = remote(url, tries=1)
        for _ in range(2):
            assert (await asked.classify(PICTURE)).label == "cat"


async def test_a_slow_answer_is_not_waited_for() -> None:
    """A service that takes the request and says nothing is given up on after the time limit."""
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as (_, url):
        asked, *_ = remote(url, tries=1, timeout=0.1)
        with pytest.raises(Failed, match="no answer in time"):
            await asked.classify(PICTURE)


async def test_an_outage_makes_pictures_wait() -> None:
    """When the service is gone, no picture fails.

    When it is back, all are answered, and both is told.
    """
    script = Script(None)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked, breaker, said = remote(f"http://127.0.0.1:{port}", tries=2)
    tasks = [asyncio.ensure_future(asked.classify(PICTURE)) for _ in range(2 * FAILURES)]
    await eventually(lambda: breaker.open)
    server.close()
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in tasks)
    server = await asyncio.start_server(Script(answer()).serve, "127.0.0.1", port)
    answers = await asyncio.gather(*tasks)
    server.close()
    assert {one.label for one in answers} == {"cat"}
    assert [text.split(" (")[0] for text in said] == ["the service is down", "the service is back"]


async def test_one_request_at_a_time_tries_a_service_that_is_down() -> None:
    """An open circuit breaker lets one request through after each pause, for all."""
    breaker = CircuitBreaker(first=0.02, longest=0.02, tell=lambda _: None)
    for _ in range(FAILURES):
        breaker.failed("it is down", trying=False)
    inside = 0

    async def one() -> None:
        nonlocal inside
        trying = await breaker.enter()
        assert trying
        inside += 1
        assert inside == 1
        await asyncio.sleep(0.01)
        inside -= 1
        breaker.failed("still", trying=trying)

    await asyncio.gather(*(one() for _ in range(5)))


async def test_a_rest_is_kept_and_costs_no_try() -> None:
    """After 429 with Retry-After nothing is sent before its time, and the picture loses no try."""
    async with scripted(answer(b"", 429, "Retry-After: 1\r\n"), answer()) as (_, url):
        asked, *_ = remote(url, tries=1)
        started = asyncio.get_running_loop().time()
        assert (await asked.classify(PICTURE)).attempts == 1
        assert asyncio.get_running_loop().time() - started >= 0.99


@pytest.mark.parametrize(
    ("status", "after", "rest"),
    [
        (429, "7", 7.0),
        (503, "0", 0.0),
        (429, "", 1.0),
        (503, "", None),
        (429, "soon", 1.0),
        (503, "Fri, 01 Jan 2021 00:00:00 GMT", 0.0),
        (500, "7", None),
        (429, "-3", 1.0),
        (408, "7", 7.0),
        (425, "", None),
    ],
)
def test_retry_after_is_read_in_both_forms(status: int, after: str, rest: float | None) -> None:
    """Seconds or a date; nonsense is as good as nothing; other statuses ask for no rest."""
    assert rest_of(Response(status, b"", {"retry-after": after})) == rest


async def test_draining_frees_waiting_requests() -> None:
    """When the run ends, requests that wait for the service or a retry end without a failure."""
    async with scripted(answer(b"", 500)) as (_, url):
        asked, breaker, _ = remote(url, tries=100)
        tasks = [asyncio.ensure_future(asked.classify(PICTURE)) for _ in range(FAILURES)]
        await eventually(lambda: breaker.open)
        breaker.drain()
        assert {type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)} == {
            Drained
        }


@pytest.mark.parametrize(
    "url", ["ftp://host", "host", "http://", "http://host:port", "", "http://host:99999"]
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    """A URL that cannot be used is an error before anything begins."""
    with pytest.raises(BadURL):
        Endpoint(url)


def test_a_password_in_a_url_is_not_shown() -> None:
    """Neither in a complaint, which ends on a console, nor in what is kept of a URL."""
    with pytest.raises(BadURL, match=r"//ada:\*\*\*@host:99999/path"):
        Endpoint("http://ada:hunter2@host:99999/path")
    with pytest.raises(BadURL, match=r"//\*\*\*@host:99999"):
        Endpoint("https://token@host:99999")
    with pytest.raises(BadURL, match=r"//ada:\*\*\*@host/a@b"):
        Endpoint("ftp://ada:hunter2@host/a@b")


def test_headers_cannot_be_smuggled() -> None:
    """A line end in a header is refused; user and password in the URL become a header."""
    with pytest.raises(BadURL):
        Endpoint("http://host", [("X-A", "1\r\nX-B: 2")])
    assert b"Authorization: Basic dTpwIA==" in Endpoint("http://u:p%20@host").headers


async def test_an_unsolicited_answer_ends_the_connection() -> None:
    """A second answer to one request is never taken for the answer to the next."""
    async with scripted(answer() + answer(b'{"class":"wrong","score":0}')) as (script, url):
        client = Client(Endpoint(url), PATIENCE_SECONDS)
        for _ in range(3):
            assert (await client.post("/", "image/jpeg", b"")).body == CAT
        assert script.connections == 3


async def test_rubbish_is_told_from_a_lost_connection() -> None:
    """An answer that is not HTTP is a bad answer; a refused connection is a connection error."""
    async with scripted(b"rubbish\r\n\r\ncontent-length") as (_, url):
        with pytest.raises(BadAnswer):
            await Client(Endpoint(url), PATIENCE_SECONDS).post("/", "image/jpeg", b"")
    with pytest.raises(OSError, match="Connect"):
        await Client(Endpoint(url), PATIENCE_SECONDS).post("/", "image/jpeg", b"")
