"""Logs: where lines go, what each line carries, and what never appears in one."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis.strategies import from_regex

from atelier.observe import handlers, logs, requester
from tests.logged import logging_to
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.logged import Written

SECRET = "correct-horse-battery-staple-0123456789"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLW9mLXRoaXM"

log = logging.getLogger("atelier.test")


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Callable[..., Written]]:
    """Set logging up for this test and put back what was there."""
    with logging_to(tmp_path) as make:
        yield make


def test_a_line_goes_to_console_and_file(setup: Callable[..., Written]) -> None:
    """Both hold the same line: time in UTC, level, logger, request id, message."""
    written = setup()
    log.info("picture %d stored", 42)
    assert written.console == written.file
    time, level, name, request, message = written.file.rstrip("\n").split(" ", 4)
    assert time[10] == "T"
    assert time[-1] == "Z"
    assert (level, name, request, message) == ("INFO", "atelier.test", "[-]", "picture 42 stored")


def test_every_line_of_a_request_carries_its_id(setup: Callable[..., Written]) -> None:
    """The id follows the context into tasks, and does not leak into another request's lines."""
    written = setup()

    async def request(name: str) -> None:
        logs.request_id.set(name)
        log.info("begin %s", name)
        await asyncio.sleep(0)
        await asyncio.create_task(inner(name))

    async def inner(name: str) -> None:
        log.info("end %s", name)

    async def both() -> None:
        await asyncio.gather(request("one"), request("two"))

    contextvars.copy_context().run(asyncio.run, both())
    for line in written.file.splitlines():
        assert f"[{line.rsplit(' ', 1)[1]}]" in line
    assert len(written.file.splitlines()) == 4


@pytest.mark.parametrize(
    "message",
    [
        f"settings: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Bearer {SECRET}'}}",
        f"(b'authorization', b'Basic {SECRET}')",
        f"a token {TOKEN} came",
        "postgresql://atelier:hunter2@db/atelier refused",
        "amqp://u:p@ss:hunter2@mq:5672/ refused",
        "redis://:hunter2@cache refused",
        "password=hunter2&username=x",
        '{"password": "hunter2", "email": "x"}',
        "refresh_token='hunter2'",
        "api-key: hunter2",
        "Authorization: Basic hunter2",
        "client_secret=hunter2",
        "PA\u017f\u017fWORD=hunter2",  # long s, which a search without case takes for s
        "to\u212aen: hunter2",  # the sign of the kelvin
        "Bas\u0131c hunter2-hunter2-hunter2-hunter2",  # i without its dot
        f"body {bytes(range(256))!r}",
        f"body {'/9j/4AAQSkZJRg' * 30}",
    ],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_and_pictures_never_appear(
    setup: Callable[..., Written], message: str, log_format: str
) -> None:
    """Neither in a message, nor in its arguments, nor in a traceback."""
    written = setup(secret=SECRET, log_format=log_format)
    log.info(message)
    log.info("%s", message)
    try:
        raise ValueError(message)  # noqa: TRY301 - for its traceback
    except ValueError:
        log.exception("failed")
    for leaked in (SECRET, TOKEN, "hunter2", r"\xff\xd8", r"\x00\x01", "/9j/4AAQSkZJRg"):
        assert leaked not in written.file
        assert leaked not in written.console
    assert "ValueError" in written.file


@pytest.mark.parametrize(
    ("pattern", "marks"), [(pattern, marks) for pattern, _, marks in logs.REDACTIONS]
)
def test_no_search_is_left_out_that_would_find(
    pattern: re.Pattern[str], marks: tuple[str, ...]
) -> None:
    """Whatever a pattern matches holds one of its marks."""

    @examples(max_examples=50)
    @given(from_regex(pattern))
    def holds(text: str) -> None:
        folded = text.casefold()
        assert any(mark in folded for mark in marks)

    holds()


@pytest.mark.parametrize(
    "message",
    [
        "tokens expire after 900 s",
        "GET http://host:8000/a@b 200",
        "basic needs",
        "a basic misunderstanding",
        "Bearer of news",
        "2026-11-21 12:30:00 done",
    ],
)
def test_plain_words_stay(setup: Callable[..., Written], message: str) -> None:
    """A text that only resembles a secret is left alone."""
    written = setup()
    log.info(message)
    assert written.file.rstrip("\n").endswith(message)


def test_a_short_password_does_not_eat_the_log(setup: Callable[..., Written]) -> None:
    """A password that is a word goes from URLs only."""
    written = setup(redis_url="redis://:a@cache")
    log.info("a cache at redis://:a@cache")
    assert written.file.endswith("a cache at redis://:***@cache\n")


def test_a_client_cannot_forge_lines(setup: Callable[..., Written]) -> None:
    """Line ends and control characters of a message are written out."""
    written = setup()
    log.info("file %s", "a\n2026-01-01T00:00:00.000Z ERROR atelier [-] forged\r\x1b[2J\u2028x")
    assert len(written.file.splitlines()) == 1
    assert "\x1b" not in written.file
    assert r"a\n2026" in written.file


def test_json_lines_can_be_read_by_machines(setup: Callable[..., Written]) -> None:
    """One object a line, with what `extra` holds and the traceback."""
    written = setup(log_format="json")
    try:
        raise RuntimeError("boom\nbang")  # noqa: TRY301 - for its traceback
    except RuntimeError:
        log.exception("failed", extra={"error_id": "e1", "odd": {1}})
    line = json.loads(written.file)
    assert line["level"] == "ERROR"
    assert line["role"] == "api"
    assert line["logger"] == "atelier.test"
    assert line["message"] == "failed"
    assert line["request_id"] == "-"
    assert line["user"] == "-"
    assert line["error_id"] == "e1"
    assert line["odd"] == "{1}"
    assert line["exception"].startswith("Traceback")


def test_json_lines_of_a_request_name_its_user(setup: Callable[..., Written]) -> None:
    """Of those after the token was judged, in tasks and threads as well."""
    written = setup(log_format="json")

    async def request() -> None:
        requester.begin("192.0.2.7")
        log.info("before")
        await asyncio.create_task(judge())
        await asyncio.to_thread(log.info, "after")

    async def judge() -> None:
        requester.identify(7, "session")

    contextvars.copy_context().run(asyncio.run, request())
    requester.identify(8, "nobody asked")
    log.info("outside")
    assert [json.loads(line)["user"] for line in written.file.splitlines()] == ["-", "7", "-"]


def test_warnings_are_lines_too(setup: Callable[..., Written]) -> None:
    """Python's warnings arrive in the log."""
    written = setup()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    assert "old way" in written.file


UNHANDLED = """
import asyncio, gc, sys, threading
from pathlib import Path
from atelier.observe import logs
from atelier.settings import Settings
logs.setup("api", Settings(data=Path(sys.argv[1])))
def fail(): raise RuntimeError("nobody caught " + sys.argv[2])
async def forget():
    async def task(): fail()
    kept = asyncio.create_task(task()); await asyncio.sleep(0); del kept; gc.collect()
class Final:
    def __del__(self): fail()
match sys.argv[2]:
    case "main": fail()
    case "thread": thread = threading.Thread(target=fail); thread.start(); thread.join()
    case "asyncio": asyncio.run(forget())
    case "finaliser": Final()
"""


@pytest.mark.parametrize("where", ["main", "thread", "asyncio", "finaliser"])
def test_unhandled_exceptions_leave_a_traceback(tmp_path: Path, where: str) -> None:
    """Wherever an error was not caught, the file has the traceback."""
    command = [sys.executable, "-c", UNHANDLED, tmp_path, where]
    subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE_SECONDS)
    text = (tmp_path / "logs" / "api.log").read_text()
    assert "Traceback" in text
    assert f"RuntimeError: nobody caught {where}" in text


def test_debug_is_for_our_own_code(setup: Callable[..., Written]) -> None:
    """Libraries log values at DEBUG; they stay at INFO."""
    written = setup(log_level="DEBUG")
    log.debug("ours")
    logging.getLogger("sqlalchemy.engine").debug("theirs")
    assert "ours" in written.file
    assert "theirs" not in written.file


def test_a_folder_that_cannot_be_written_costs_only_the_file(
    tmp_path: Path, setup: Callable[..., Written]
) -> None:
    """The role runs on with its console, which says so."""
    (tmp_path / "logs").write_text("in the way")
    written = setup()
    log.info("still here")
    assert "console only" in written.console
    assert "still here" in written.console


def test_a_line_that_cannot_be_formatted_shows_no_arguments(
    setup: Callable[..., Written], capsys: pytest.CaptureFixture[str]
) -> None:
    """Logging's own report would print them, unredacted."""
    setup(secret=SECRET)
    log.info("%d", SECRET)
    assert SECRET not in capsys.readouterr().err


def test_files_are_private(tmp_path: Path) -> None:
    """Neither the present one nor the next: they tell who asked for what."""
    handler = handlers.FileHandler(tmp_path / "api.log", limit=100)
    for number in range(10):
        handler.emit(logging.makeLogRecord({"msg": f"{number} " + "x" * 30}))
    handler.close()
    found = list(tmp_path.glob("api.log*"))
    assert len(found) > 1
    assert [path for path in found if path.stat().st_mode & 0o007] == []


def test_files_are_rotated_by_size(tmp_path: Path) -> None:
    """The newest lines are in the file, older ones in numbered files, the oldest are gone."""
    handler = handlers.FileHandler(tmp_path / "api.log", limit=100, kept=2)
    for number in range(10):
        handler.emit(logging.makeLogRecord({"msg": f"{number} {'x' * 60}"}))
    handler.close()
    kept = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert set(kept) <= {"api.log", "api.log.1", "api.log.2"}
    assert "api.log.2" in kept
    assert "9 x" in "".join((tmp_path / name).read_text() for name in kept)
    assert "0 x" not in "".join((tmp_path / name).read_text() for name in kept)


WRITER = """
import logging, sys
from pathlib import Path
from atelier.observe.handlers import FileHandler
handler = FileHandler(Path(sys.argv[1]), limit=20_000, kept=1000)
for number in range(1000):
    handler.emit(logging.makeLogRecord({"msg": f"{sys.argv[2]}-{number} {'x' * 60}"}))
"""


def test_processes_share_a_file_without_losing_lines(tmp_path: Path) -> None:
    """Several workers of one role write and rotate together."""
    path = tmp_path / "api.log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "abc"]
    assert [writer.wait(PATIENCE_SECONDS) for writer in writers] == [0, 0, 0]
    lines = [
        line.split()[0]
        for file in tmp_path.glob("api.log*")
        for line in file.read_text().splitlines()
    ]
    assert sorted(lines) == sorted(f"{name}-{number}" for name in "abc" for number in range(1000))
