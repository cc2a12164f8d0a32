"""`atelier doctor`: what it shows, what it hides, and when it fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atelier.commands import doctor
from atelier.commands.doctor import main
from atelier.settings import Settings, load
from atelier.up.engines import start_valkey
from atelier.up.preflight import keep_secret
from tests.imaging.fonts import called

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-battery-staple-0123456789"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and a port that is free."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATELIER_PORT", "0")
    monkeypatch.setenv("ATELIER_GRPC_PORT", "0")
    return tmp_path


def verdicts(output: str) -> dict[str, str]:
    """Each check's verdict."""
    lines = output.partition("Checks\n")[2].splitlines()
    return {line[11:21].strip(): line[:10].strip() for line in lines}


def test_shows_every_setting_and_its_source(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """One line each, with the place that decided."""
    (folder / "atelier.yaml").write_text("log_level: ERROR\n")
    assert main(load(data=folder / "data")) == 0
    rows = {
        line.split()[0]: line.split()
        for line in capsys.readouterr().out.partition("\n\n")[0].splitlines()[1:]
    }
    assert rows.keys() == Settings.model_fields.keys()
    assert rows["port"][2:] == ["environment", "(ATELIER_PORT)"]
    assert rows["log_level"][1:] == ["ERROR", "file", "(atelier.yaml)"]
    assert rows["data"][-2:] == ["command", "line"]
    assert rows["host"][-1] == "default"


def test_changes_nothing(folder: Path) -> None:
    """A look is only a look: the data folder is not made."""
    assert main(load(data=folder / "data")) == 0
    assert not (folder / "data").exists()


def test_servers_that_answer(
    database_url: str, redis_url: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Each is asked, and says its version."""
    assert (
        main(load(data=folder, database_url=database_url, redis_url=redis_url, secret=SECRET)) == 0
    )
    output = capsys.readouterr().out
    assert "PostgreSQL 18 answers" in output
    assert "valkey 9." in output
    assert SECRET not in output


@pytest.mark.rabbitmq
def test_a_broker_that_answers(
    amqp_url: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """RabbitMQ is asked too."""
    assert main(load(data=folder, amqp_url=amqp_url)) == 0
    assert "RabbitMQ answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "setting", "url"),
    [
        ("database", "database_url", "postgresql://ada:hunter2@127.0.0.1:1/atelier"),
        ("database", "database_url", "postgresql://ada@127.0.0.1:1/atelier?password=hunter2"),
        ("redis", "redis_url", "redis://:hunter2@127.0.0.1:1/0"),
        ("bus", "amqp_url", "amqp://ada:hunter2@127.0.0.1:1/"),
    ],
)
def test_a_server_that_does_not_answer(
    name: str, setting: str, url: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """It fails, alone, in one line and without the password."""
    assert main(load(data=folder, **{setting: url})) == 1
    output, errors = capsys.readouterr()
    assert errors == ""
    assert {check for check, verdict in verdicts(output).items() if verdict == "FAILED"} == {name}
    assert "hunter2" not in output
    assert "127.0.0.1:1" in output


def test_a_queue_that_forgets(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A Redis that evicts keys would lose jobs: said before it happens."""
    from redis import Redis

    engine = start_valkey(folder / "valkey")  # not the one that tests share
    try:
        with Redis.from_url(engine.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        assert main(load(data=folder, redis_url=engine.url)) == 1
    finally:
        engine.halt()
    assert "needs noeviction" in capsys.readouterr().out


@pytest.mark.parametrize(("cache", "code"), [(4 * 1024 * 1024, 0), (5 * 1024 * 1024, 1)])
def test_a_cache_that_leaves_no_room(
    cache: int, code: int, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """A cache above half of Redis's memory is said before queues refuse."""
    engine = start_valkey(folder / "valkey", memory=8 * 1024 * 1024)
    try:
        assert main(load(data=folder, redis_url=engine.url, cache_bytes=cache)) == code
    finally:
        engine.halt()
    assert ("leaves too little to the queues" in capsys.readouterr().out) == bool(code)


def test_a_port_that_another_program_has(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Another program on our port is a failure."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(load(data=folder, port=taken.getsockname()[1])) == 1
    assert verdicts(capsys.readouterr().out)["port"] == "FAILED"


def test_a_port_chosen_by_the_system(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """0 is no port that could be free or taken."""
    assert main(load(data=folder, host="127.0.0.1", port=0, grpc_port=0)) == 0
    output = capsys.readouterr().out
    assert output.count("any free port of 127.0.0.1") == 2
    assert "127.0.0.1:0" not in output


def test_one_port_for_two(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """HTTP and gRPC on the same port are a failure before either is started."""
    assert main(load(data=folder, port=50077, grpc_port=50077)) == 1
    assert "port and grpc_port are both 50077" in capsys.readouterr().out


def test_a_secret_that_is_kept(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """A secret that `atelier up` made is shown as a value with its place, not as none.

    Never the value itself.
    """
    assert main(load(data=folder)) == 0
    assert "will make one" in capsys.readouterr().out
    kept = keep_secret(folder)
    assert main(load(data=folder)) == 0
    output = capsys.readouterr().out
    row = next(line for line in output.splitlines() if line.split()[:1] == ["secret"])
    assert row.split()[1] == "***"
    assert row.endswith(f"kept by `atelier up` ({folder / 'secret'})")
    assert kept not in output


def test_a_font_that_is_none(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """It fails here, before it fails every picture."""
    font = folder / "font.ttf"
    font.write_bytes(b"no font")
    assert main(load(data=folder, caption_font=font)) == 1
    output = capsys.readouterr().out
    assert verdicts(output)["font"] == "FAILED"
    assert f"caption_font: {font} cannot be used: it is not a font" in output


def test_the_file_of_a_named_font(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name is answered with the file that was taken for it."""
    path = folder / "fonts" / "a.ttf"
    path.parent.mkdir()
    path.write_bytes(called("Atelier One"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    assert main(load(data=folder, caption_font="atelier one", caption_size=20)) == 0
    assert f"Atelier One Book ({path}) at 20 px" in capsys.readouterr().out


@pytest.mark.usefixtures("fribidi")
def test_the_library_for_captions(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Said where it is there."""
    assert main(load(data=folder)) == 0
    assert verdicts(capsys.readouterr().out)["shaping"] == "ok"


@pytest.mark.skipif(sys.platform != "linux", reason="hides the library as Linux finds it")
def test_no_library_for_captions(folder: Path, without_fribidi: Path) -> None:
    """A warning that says what it means for captions; nothing fails for it."""
    command = [sys.executable, "-m", "atelier", "doctor", "--data", str(folder)]
    environment = os.environ | {"LD_LIBRARY_PATH": str(without_fribidi)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert verdicts(done.stdout)["shaping"] == "warning"
    assert "libfribidi is missing: captions in Arabic, Hebrew, Hindi, Thai" in done.stdout


@pytest.mark.parametrize(("package", "verdict"), [("cryptography", "ok"), ("no_such", "warning")])
def test_ciphers_of_documents(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    verdict: str,
) -> None:
    """Where the package is missing it is said what is lost; nothing fails for it."""
    monkeypatch.setattr(doctor, "CIPHERS", package)
    assert main(load(data=folder)) == 0
    assert verdicts(capsys.readouterr().out)["pdf"] == verdict


def test_engines_that_are_not_there(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """No program to start and no URL set."""
    assert main(load(data=folder, postgres_bin=folder, valkey_bin=folder / "none")) == 1
    found = verdicts(capsys.readouterr().out)
    assert (found["database"], found["redis"]) == ("FAILED", "FAILED")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Said before the first start fails on it."""
    (folder / "data").mkdir(mode=0o500)
    assert main(load(data=folder / "data")) == 1
    assert verdicts(capsys.readouterr().out)["data"] == "FAILED"
