"""A server that cannot be used ends the start in one sentence, without its password."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from atelier.errors import Unavailable
from atelier.settings import load
from atelier.startup.reachability import NO_URL, require_servers
from tests.waiting import finished

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "hunter2"
DATABASE, REDIS, AMQP = "ATELIER_DATABASE_URL", "ATELIER_REDIS_URL", "ATELIER_AMQP_URL"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "url", "sentence"),
    [
        (
            DATABASE,
            f"postgresql://u:{PASSWORD}@127.0.0.1:1/x",
            "PostgreSQL at 127.0.0.1:1 cannot be used: Connection",
        ),
        (
            DATABASE,
            f"postgresql://u@[::1]:1/x?password={PASSWORD}",
            "PostgreSQL at [::1]:1 cannot be used: ",
        ),
        (
            DATABASE,
            f"postgresql://u:{PASSWORD}@/x?host=/none",
            "PostgreSQL at /none cannot be used: No such file",
        ),
        (DATABASE, f"postgresql://u:{PASSWORD}/w@h/d", NO_URL),
        (DATABASE, f"postgresql://u:{PASSWORD}%zz@h/d", NO_URL),
        (
            REDIS,
            f"redis://:{PASSWORD}@127.0.0.1:1/0",
            "Redis at 127.0.0.1:1 cannot be used: Connection refused.",
        ),
        (
            REDIS,
            f"unix://:{PASSWORD}@/none.sock",
            "Redis at /none.sock cannot be used: No such file or directory.",
        ),
        (REDIS, f"redis://:{PASSWORD}/w@h:1", NO_URL),
        (
            AMQP,
            f"amqp://u:{PASSWORD}@127.0.0.1:1/",
            "RabbitMQ at 127.0.0.1:1 cannot be used: Connect",
        ),
        (AMQP, f"amqp://u:{PASSWORD}/w@127.0.0.1:1/", NO_URL),
    ],
)
def test_what_cannot_be_used_is_named(
    variable: str,
    url: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The variable, the server and its address, the reason; a client's own lines are not shown."""
    monkeypatch.setenv(variable, url)
    with pytest.raises(Unavailable) as caught:
        require_servers(load())
    assert caught.value.detail.startswith(f"{variable}: {sentence}")
    assert PASSWORD not in caught.value.detail
    assert "\n" not in caught.value.detail
    assert capsys.readouterr().err == ""


def test_a_wrong_password_is_the_reason(redis_url: str) -> None:
    """The server's own message is passed on."""
    url = redis_url.replace("unix://", f"unix://nobody:{PASSWORD}@")
    with pytest.raises(
        Unavailable,
        match=r"^--redis-url: Redis at /\S+ cannot be used: invalid username-password pair",
    ):
        require_servers(load(redis_url=url))


@pytest.mark.rabbitmq
def test_a_broker_that_refuses(amqp_url: str) -> None:
    """A virtual host that is not there."""
    with pytest.raises(Unavailable, match="there is no such virtual host"):
        require_servers(load(amqp_url=f"{amqp_url.rstrip('/')}/nowhere"))


def test_servers_that_answer_are_no_matter(database_url: str, redis_url: str) -> None:
    """Nor are those that are not set."""
    require_servers(load(database_url=database_url, redis_url=redis_url))
    require_servers(load())


@pytest.mark.parametrize(
    ("command", "variable", "url"),
    [
        ("up", DATABASE, "postgresql://u:hunter2@127.0.0.1:1/x"),
        ("up", REDIS, "redis://:hunter2@127.0.0.1:1"),
        ("up", AMQP, "amqp://u:hunter2@127.0.0.1:1/"),
        ("migrate", DATABASE, "postgresql://u:hunter2@127.0.0.1:1/x"),
    ],
)
def test_a_start_ends_with_the_sentence(
    folder: Path, command: str, variable: str, url: str
) -> None:
    """One line and exit code 2; no engine was started."""
    environment = {
        "PATH": os.environ["PATH"],
        variable: url,
        "ATELIER_PORT": "0",
        "ATELIER_GRPC_PORT": "0",
    }
    words = [sys.executable, "-m", "atelier", command]
    done = finished(words, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    line, *more = done.stderr.splitlines()
    assert line.startswith(f"atelier: {variable}: ")
    assert "at 127.0.0.1:1 cannot be used" in line
    assert not more
    assert not (folder / "data" / "postgres").exists()


def test_an_engine_that_was_started_for_us_is_no_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role of `atelier up` does not name a setting that nobody set."""
    monkeypatch.setenv(DATABASE, f"postgresql://atelier@/atelier?host={folder}")
    monkeypatch.setenv("ATELIER_EMBEDDED", "database_url,redis_url")
    with pytest.raises(Unavailable, match=rf"^PostgreSQL at {folder} cannot be used: "):
        require_servers(load())
    assert load().sources()["database_url"] == "atelier up"
