"""`atelier up` as a process of its own, with small real roles: starting, dying, recovering, refusing, stopping."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from atelier.commands.doctor import main as examine
from atelier.observe.systemd import ready_pid
from atelier.settings import load
from tests.ports import free_port
from tests.up.driver import INSTANCE, House, parents
from tests.waiting import PATIENCE_SECONDS, gone, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach: pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-up-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def house(open_folder: Path) -> Iterator[Callable[..., House]]:
    """Makes houses and ends them."""
    made: list[House] = []

    def make(*flags: str, data: Path | None = None, **options: object) -> House:
        made.append(House(data or open_folder / "data", *flags, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.end()


def visits(house: House) -> int:
    """How often `/readyz` was asked, as the database of the data folder remembers."""
    import psycopg

    with psycopg.connect(
        f"postgresql://atelier@/atelier?host={house.data}/postgres"
    ) as connection:
        row = connection.execute("SELECT count(*) FROM visits").fetchone()
        assert row
        return int(row[0])


def test_starts_everything_and_says_where_it_is(house: Callable[..., House]) -> None:
    """The start screen comes when its addresses answer: those, folders, the first user, how to stop."""
    running = house().start()
    assert running.get("/healthz") == 200
    assert running.get("/readyz") == 200
    text = running.text()
    for words in (
        f"http://127.0.0.1:{running.port}/docs",
        str(running.data / "logs"),
        "/api/users",
        "Ctrl-C",
    ):
        assert words in text
    assert "worker     | worker works with 64 characters of secret" in text
    assert "\x1b" not in text  # no colours into a file


def test_the_start_screen_waits_for_every_address(house: Callable[..., House]) -> None:
    """It says "running" when the last role that clients call is ready, though the API has answered for long."""
    running = house("slow").start(wait=False)
    until(lambda: "dawdler waits" in running.text())
    until(lambda: running.get("/healthz") == 200)
    assert "is running" not in running.text()
    (running.data / "gate").write_bytes(b"open")
    until(running.is_up)
    assert "not up yet" not in running.text().lower()


def test_the_start_screen_waits_for_nobody_else(house: Callable[..., House]) -> None:
    """Who works behind the addresses may be up later."""
    running = house("slow", "hidden").start()
    assert "Not up yet" not in running.text()
    assert "dawdler is up" not in running.text()


def test_a_role_that_is_late_is_named(house: Callable[..., House]) -> None:
    """The start screen did not wait for it; a warning follows."""
    running = house("slow", "hidden", "impatient").start()
    until(lambda: re.search(r"not up yet: .*\bdawdler\b.*; see the lines above", running.text()))


def test_the_start_screen_does_not_wait_for_ever(house: Callable[..., House]) -> None:
    """After a while it comes with a note of who is missing."""
    running = house("slow", "impatient").start()
    note = re.search(r"Note        Not up yet: (.+)\. The lines above say more\.", running.text())
    assert note
    missing = note[1].split(", ")
    assert "dawdler" in missing
    assert "worker" not in missing


def test_who_supervises_it_learns_when_all_is_up(
    house: Callable[..., House], open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd it is ready once, by itself, when its start screen is there.

    Its roles tell it alone.
    """
    monkeypatch.setenv("NOTIFY_SOCKET", str(open_folder / "systemd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inlet:
        inlet.bind(str(open_folder / "systemd"))
        inlet.settimeout(PATIENCE_SECONDS)
        running = house().start(wait=False)
        assert ready_pid(inlet.recv(100)) == running.process.pid
    assert "is running" in running.text()


def test_stops_in_order(house: Callable[..., House]) -> None:
    """SIGTERM: the roles finish first, then the engines, and nothing stays."""
    running = house().start()
    members = running.members()
    running.process.terminate()
    assert running.wait() == 0
    gone(*members)
    assert "worker drained" in running.text()
    assert "database system is shut down" in (running.data / "logs" / "postgres.log").read_text()


def test_a_closed_terminal_stops_it(house: Callable[..., House]) -> None:
    """SIGHUP is a clean stop too."""
    running = house().start()
    running.process.send_signal(signal.SIGHUP)
    assert running.wait() == 0
    assert "worker drained" in running.text()


def test_second_start_finds_what_the_first_left(house: Callable[..., House]) -> None:
    """Rows and the secret outlive a restart; the secret is for its owner's eyes."""
    running = house().start()
    secret = running.data / "secret"
    kept = secret.read_text()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert running.get("/readyz") == 200
    running.end()
    again = house().start()
    assert visits(again) == 1
    assert secret.read_text() == kept


def test_no_orphan_stays_when_it_is_killed(house: Callable[..., House]) -> None:
    """After kill -9 of the supervisor every role, its children and both engines go.

    The next start recovers.
    """
    running = house().start()
    assert running.get("/readyz") == 200
    members = running.members()
    assert len(members) >= 8  # two roles, a child of one, Valkey, PostgreSQL and its own
    running.process.kill()
    again = house().start()  # at once: it has to wait for what is still shutting down
    gone(*members)
    assert visits(again) == 1


def test_a_start_that_is_killed_leaves_no_half(
    house: Callable[..., House], open_folder: Path
) -> None:
    """Kill -9 at any stage of the very first start: the next one still comes up."""
    for files in (1, 10, 300, 900):  # of the data folder, into which initdb writes some 950
        running = house().start(wait=False)
        until(lambda files=files: sum(len(found) for *_, found in os.walk(open_folder)) >= files)
        running.process.kill()
        running.wait()
    assert house().start().get("/readyz") == 200


@pytest.mark.parametrize("word", ["serve", "work"])
def test_a_killed_role_comes_back(house: Callable[..., House], word: str) -> None:
    """Kill -9 of a role: its own children go with it, and a new one takes its place."""
    running = house().start()
    pid = running.child(word)
    assert pid
    below = [child for child, parent in parents().items() if parent == pid]
    os.kill(pid, signal.SIGKILL)
    until(lambda: running.child(word) not in (None, pid))
    gone(*below)
    until(lambda: running.get("/readyz") == 200)
    assert "ended (SIGKILL)" in running.text()


@pytest.mark.parametrize("engine", ["postgres", "valkey-server"])
def test_a_killed_engine_comes_back(house: Callable[..., House], engine: str) -> None:
    """Kill -9 of an engine: it is started again on the same address with what it held."""
    running = house().start()
    assert running.get("/readyz") == 200
    pid = running.child(engine)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: running.child(engine) not in (None, pid))
    until(lambda: running.get("/readyz") == 200)
    assert visits(running) >= 2


def test_a_role_that_keeps_dying_is_not_started_in_a_rush(house: Callable[..., House]) -> None:
    """The pauses between its starts grow."""
    running = house("mortal").start()
    until(lambda: running.text().count("mortal ended") >= 4)
    pauses = [
        float(pause) for pause in re.findall(r"mortal ended .* in ([\d.]+) s", running.text())
    ]
    assert pauses == sorted(pauses)
    assert pauses[3] > 2 * pauses[0]


def test_a_role_that_does_not_stop_is_killed(house: Callable[..., House]) -> None:
    """Its time to drain has an end."""
    running = house("stubborn").start()
    until(lambda: "stubborn is up" in running.text())
    running.process.terminate()
    assert running.wait() == 0
    assert "stubborn did not stop" in running.text()


def test_a_second_signal_stops_at_once(house: Callable[..., House], open_folder: Path) -> None:
    """Nobody waits for a role that hangs when the operator says so twice."""
    running = house("stubborn", "patient").start()
    until(lambda: "stubborn is up" in running.text())
    running.process.send_signal(signal.SIGINT)
    until(lambda: "once more" in running.text())
    members = running.members()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    gone(*members)
    assert "did not stop" not in running.text()


def test_a_signal_during_the_start_stops_it(house: Callable[..., House]) -> None:
    """An operator who changes his mind is not made to wait."""
    running = house().start(wait=False)
    until(running.members)
    running.process.terminate()
    assert running.wait() in (0, -signal.SIGTERM)
    assert not running.members()


def test_lines_of_any_kind_are_merged(house: Callable[..., House]) -> None:
    """Lines longer than any buffer and bytes that are no text pass through, each under its role's name."""
    running = house("talker").start()
    until(lambda: "caf\N{REPLACEMENT CHARACTER}" in running.text())
    assert (
        sum(line.count("x") for line in running.text().splitlines() if line.startswith("talker"))
        == 300_000
    )
    assert "talker     | caf\N{REPLACEMENT CHARACTER}" in running.text()
    running.process.terminate()
    running.wait()
    assert "talker     | last words" in running.text()


def test_json_lines_stay_json(house: Callable[..., House]) -> None:
    """Lines for machines get no name before them, and no start screen between them."""
    running = house(LOG_FORMAT="json").start(wait=False)
    until(lambda: "Atelier is up" in running.text())
    assert '"role":"up"' in running.text()
    assert " | " not in running.text()
    assert "Ctrl-C" not in running.text()


def refused(running: House) -> str:
    """The one line of a start that is refused."""
    running.start(wait=False)
    assert running.wait() == 2
    lines = [line for line in running.text().splitlines() if line.startswith("atelier: ")]
    assert len(lines) == 1
    assert "Traceback" not in running.text()
    return lines[0]


def test_a_taken_port_is_refused(house: Callable[..., House]) -> None:
    """One line, before anything is started."""
    running = house()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", running.port))
        taken.listen()
        assert f"Port {running.port} of 127.0.0.1 is taken" in refused(running)
    assert not (running.data / "postgres").exists()


def test_one_port_for_two_is_refused(house: Callable[..., House]) -> None:
    """HTTP and gRPC on the same port: one line that names both settings."""
    running = house()
    running.settings["GRPC_PORT"] = str(running.port)
    assert f"port and grpc_port are both {running.port}" in refused(running)


def test_the_doctor_sees_what_runs(
    house: Callable[..., House], capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a running instance it asks that one's engines and port, whatever port the settings name; after, none."""
    running = house().start()
    assert examine(load(data=running.data)) == 0
    found = capsys.readouterr().out
    for words in (
        f"running as process {running.process.pid}",
        "PostgreSQL 18 answers, embedded",
        "answers, embedded",
        f"http://127.0.0.1:{running.port} answers",
    ):
        assert words in found
    row = next(line.split() for line in found.splitlines() if line.split()[:1] == ["port"])
    assert row[1:] == [str(running.port), "the", "running", "instance"]
    running.end()
    examine(load(data=running.data, port=0, grpc_port=0))
    assert "not running" in capsys.readouterr().out


def test_a_folder_has_one_instance(house: Callable[..., House]) -> None:
    """The second names the first, and the first does not notice."""
    first = house().start()
    line = refused(house())
    assert "in use by another running instance" in line
    assert str(first.process.pid) in line
    assert first.get("/readyz") == 200


def test_another_version_of_the_database_is_refused(house: Callable[..., House]) -> None:
    """The line says what to set; the data is left alone, and Valkey stops again."""
    running = house().start()
    running.end()
    version = running.data / "postgres" / "PG_VERSION"
    version.write_text("9\n")
    again = house()
    assert "was written by PostgreSQL 9" in refused(again)
    assert not again.members()


def test_a_role_with_wrong_settings_ends_it(house: Callable[..., House]) -> None:
    """A role that exits with 2 cannot be helped by another start; its last line is the reason."""
    running = house("misconfigured")
    assert "the colour of the bicycle shed is missing" in refused(running)
    assert not running.members()


def test_a_failed_migration_ends_it(house: Callable[..., House]) -> None:
    """No role meets a database that is not ready for it."""
    running = house("broken")
    assert "column already exists" in refused(running)
    assert "worker works" not in running.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_folder_that_cannot_be_written_is_refused(
    house: Callable[..., House], open_folder: Path
) -> None:
    """One line for an ordinary user on somebody else's folder."""
    (open_folder / "data").mkdir(mode=0o755)
    assert "cannot be used: Permission denied" in refused(house(uid=NOBODY))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_an_ordinary_user_needs_nothing(house: Callable[..., House], open_folder: Path) -> None:
    """Without root the same engines run as that user, with nothing outside the data folder."""
    (open_folder / "home").mkdir()
    os.chown(open_folder / "home", NOBODY, NOBODY)
    running = house(data=open_folder / "home" / "data", uid=NOBODY).start()
    assert running.get("/readyz") == 200
    assert "root" not in running.text()
    assert (running.data / "postgres").stat().st_uid == NOBODY


@pytest.mark.parametrize(
    "name", ["with a space", "quote'and\"more", "percent%20", "кухня", "x" * 120]
)
def test_any_folder_name_will_do(
    house: Callable[..., House], open_folder: Path, name: str
) -> None:
    """Spaces, quotes, other alphabets and paths longer than a socket's address."""
    running = house(data=open_folder / name).start()
    assert running.get("/readyz") == 200


def test_a_full_disk_is_refused(house: Callable[..., House], open_folder: Path) -> None:
    """One line, and nothing half made."""
    small = open_folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        assert "MiB left" in refused(house(data=small / "data"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_reader_that_goes_away_costs_only_the_output(open_folder: Path) -> None:
    """`atelier up | head -1` keeps serving."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, INSTANCE, open_folder / "data", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()

        def healthy() -> bool:
            with suppress(httpx2.TransportError):
                url = f"http://127.0.0.1:{port}/readyz"
                return httpx2.get(url, timeout=PATIENCE_SECONDS).status_code == 200
            return False

        until(healthy)
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
