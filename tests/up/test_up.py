"""`atelier up` as a process, with small real roles: starting, dying, recovering, stopping."""

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
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from atelier.commands.doctor import main as examine
from atelier.observe.systemd import ready_pid
from atelier.settings import load
from tests.ports import free_port
from tests.up.driver import INSTANCE, Instance, parents
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
def instance(open_folder: Path) -> Iterator[Callable[..., Instance]]:
    """Makes instances and ends them."""
    made: list[Instance] = []

    def make(*flags: str, data: Path | None = None, **options: object) -> Instance:
        data = data or open_folder / "data"
        made.append(Instance(data, *flags, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.end()


def visits(instance: Instance) -> int:
    """How often `/readyz` was asked, as the database of the data folder remembers."""
    import psycopg

    from atelier.up.engines import running

    with psycopg.connect(running.noted(instance.data, "database_url") or "") as connection:
        row = connection.execute("SELECT count(*) FROM visits").fetchone()
        assert row
        return int(row[0])


def test_starts_everything_and_says_where_it_is(instance: Callable[..., Instance]) -> None:
    """The start screen comes when its addresses answer, and names the folders and next steps."""
    running = instance().start()
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


def test_the_start_screen_waits_for_every_address(instance: Callable[..., Instance]) -> None:
    """The start screen says "running" when the last role that clients call is ready."""
    running = instance("slow").start(wait=False)
    until(lambda: "dawdler waits" in running.text())
    until(lambda: running.get("/healthz") == 200)
    assert "is running" not in running.text()
    (running.data / "release").write_bytes(b"open")
    until(running.is_up)
    assert "not up yet" not in running.text().lower()


def test_the_start_screen_does_not_wait_for_other_roles(instance: Callable[..., Instance]) -> None:
    """Roles that clients do not call may be up later."""
    running = instance("slow", "hidden").start()
    assert "Not up yet" not in running.text()
    assert "dawdler is up" not in running.text()


def test_a_role_that_is_late_is_named(instance: Callable[..., Instance]) -> None:
    """The start screen did not wait for it; a warning follows."""
    running = instance("slow", "hidden", "impatient").start()
    until(lambda: re.search(r"not up yet: .*\bdawdler\b.*; see the lines above", running.text()))


def test_the_start_screen_does_not_wait_for_ever(instance: Callable[..., Instance]) -> None:
    """After a while it comes with a note of who is missing."""
    running = instance("slow", "impatient").start()
    note = re.search(r"Note        Not up yet: (.+)\. The lines above say more\.", running.text())
    assert note
    missing = note[1].split(", ")
    assert "dawdler" in missing
    assert "worker" not in missing


def test_who_supervises_it_learns_when_all_is_up(
    instance: Callable[..., Instance], open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd it is ready once, by itself, when its start screen is there.

    Its roles tell it alone.
    """
    monkeypatch.setenv("NOTIFY_SOCKET", str(open_folder / "systemd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inlet:
        inlet.bind(str(open_folder / "systemd"))
        inlet.settimeout(PATIENCE_SECONDS)
        running = instance().start(wait=False)
        assert ready_pid(inlet.recv(100)) == running.process.pid
    assert "is running" in running.text()


def test_stops_in_order(instance: Callable[..., Instance]) -> None:
    """SIGTERM: the roles finish first, then the engines, and nothing stays."""
    running = instance().start()
    members = running.members()
    running.process.terminate()
    assert running.wait() == 0
    gone(*members)
    assert "worker drained" in running.text()
    assert "database system is shut down" in (running.data / "logs" / "postgres.log").read_text()


def test_a_closed_terminal_stops_it(instance: Callable[..., Instance]) -> None:
    """SIGHUP is a clean stop too."""
    running = instance().start()
    running.process.send_signal(signal.SIGHUP)
    assert running.wait() == 0
    assert "worker drained" in running.text()


def test_second_start_finds_what_the_first_left(instance: Callable[..., Instance]) -> None:
    """Rows and the secret outlive a restart; the secret is for its owner's eyes."""
    running = instance().start()
    secret = running.data / "secret"
    kept = secret.read_text()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert running.get("/readyz") == 200
    running.end()
    again = instance().start()
    assert visits(again) == 1
    assert secret.read_text() == kept


def test_no_orphan_stays_when_it_is_killed(instance: Callable[..., Instance]) -> None:
    """After kill -9 of the supervisor every role, its children and both engines go.

    The next start recovers.
    """
    running = instance().start()
    assert running.get("/readyz") == 200
    members = running.members()
    assert len(members) >= 8  # two roles, a child of one, Valkey, PostgreSQL and its own
    running.process.kill()
    again = instance().start()  # at once: it has to wait for what is still shutting down
    gone(*members)
    assert visits(again) == 1


@pytest.mark.parametrize("pause", [0.05, 0.3, 0.8])
def test_no_orphan_stays_that_recovers_from_a_crash(
    instance: Callable[..., Instance], pause: float
) -> None:
    """Kill -9 of a database's backend and, while it recovers, of the supervisor: all ends."""
    running = instance().start()
    postmaster = running.child("postgres")
    backend = max(child for child, parent in parents().items() if parent == postmaster)
    members = running.members()
    os.kill(backend, signal.SIGKILL)
    time.sleep(pause)
    running.process.kill()
    again = instance().start()
    gone(*members)
    assert "does not end" not in again.text()


def test_an_orphan_that_does_not_end_is_ended(instance: Callable[..., Instance]) -> None:
    """An engine that ignores its death signal is killed by the next start, which says so."""
    running = instance().start()
    members, valkey = running.members(), running.child("valkey-server")
    assert valkey
    os.kill(valkey, signal.SIGSTOP)
    running.process.kill()
    again = instance("impatient").start()
    gone(*members)
    assert f"process {valkey}, an engine of an earlier instance, does not end" in again.text()


def test_a_start_that_is_killed_leaves_no_half(
    instance: Callable[..., Instance], open_folder: Path
) -> None:
    """Kill -9 at any stage of the very first start: the next one still comes up."""
    for files in (1, 10, 300, 900):  # of the data folder, into which initdb writes some 950
        running = instance().start(wait=False)
        until(lambda files=files: sum(len(found) for *_, found in os.walk(open_folder)) >= files)
        running.process.kill()
        running.wait()
    assert instance().start().get("/readyz") == 200


@pytest.mark.parametrize("word", ["serve", "work"])
def test_a_killed_role_comes_back(instance: Callable[..., Instance], word: str) -> None:
    """Kill -9 of a role: its own children go with it, and a new one takes its place."""
    running = instance().start()
    pid = running.child(word)
    assert pid
    below = [child for child, parent in parents().items() if parent == pid]
    os.kill(pid, signal.SIGKILL)
    until(lambda: running.child(word) not in (None, pid))
    gone(*below)
    until(lambda: running.get("/readyz") == 200)
    assert "ended (SIGKILL)" in running.text()


@pytest.mark.parametrize("engine", ["postgres", "valkey-server"])
def test_a_killed_engine_comes_back(instance: Callable[..., Instance], engine: str) -> None:
    """Kill -9 of an engine: it is started again on the same address with what it held."""
    running = instance().start()
    assert running.get("/readyz") == 200
    pid = running.child(engine)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: running.child(engine) not in (None, pid))
    until(lambda: running.get("/readyz") == 200)
    assert visits(running) >= 2


def test_a_role_that_keeps_dying_is_not_started_in_a_rush(
    instance: Callable[..., Instance],
) -> None:
    """The pauses between its starts grow."""
    running = instance("mortal").start()
    until(lambda: running.text().count("mortal ended") >= 4)
    pauses = [
        float(pause) for pause in re.findall(r"mortal ended .* in ([\d.]+) s", running.text())
    ]
    assert pauses == sorted(pauses)
    assert pauses[3] > 2 * pauses[0]


def test_a_role_that_does_not_stop_is_killed(instance: Callable[..., Instance]) -> None:
    """Its time to drain has an end."""
    running = instance("stubborn").start()
    until(lambda: "stubborn is up" in running.text())
    running.process.terminate()
    assert running.wait() == 0
    assert "stubborn did not stop" in running.text()


def test_a_second_signal_stops_at_once(
    instance: Callable[..., Instance], open_folder: Path
) -> None:
    """A second signal from the operator ends a role that hangs."""
    running = instance("stubborn", "patient").start()
    until(lambda: "stubborn is up" in running.text())
    running.process.send_signal(signal.SIGINT)
    until(lambda: "once more" in running.text())
    members = running.members()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    gone(*members)
    assert "did not stop" not in running.text()


def test_a_signal_during_the_start_stops_it(instance: Callable[..., Instance]) -> None:
    """An operator who changes his mind is not made to wait."""
    running = instance().start(wait=False)
    until(running.members)
    running.process.terminate()
    assert running.wait() in (0, -signal.SIGTERM)
    assert not running.members()


def test_lines_of_any_kind_are_merged(instance: Callable[..., Instance]) -> None:
    """Very long lines and bytes that are not text pass through, each under its role's name."""
    running = instance("talker").start()
    until(lambda: "caf\N{REPLACEMENT CHARACTER}" in running.text())
    assert (
        sum(line.count("x") for line in running.text().splitlines() if line.startswith("talker"))
        == 300_000
    )
    assert "talker     | caf\N{REPLACEMENT CHARACTER}" in running.text()
    running.process.terminate()
    running.wait()
    assert "talker     | last words" in running.text()


def test_json_lines_stay_json(instance: Callable[..., Instance]) -> None:
    """Lines for machines get no name before them, and no start screen between them."""
    running = instance(LOG_FORMAT="json").start(wait=False)
    until(lambda: "Atelier is up" in running.text())
    assert '"role":"up"' in running.text()
    assert " | " not in running.text()
    assert "Ctrl-C" not in running.text()


def refused(running: Instance) -> str:
    """The one line of a start that is refused."""
    running.start(wait=False)
    assert running.wait() == 2
    lines = [line for line in running.text().splitlines() if line.startswith("atelier: ")]
    assert len(lines) == 1
    assert "Traceback" not in running.text()
    return lines[0]


def test_a_taken_port_is_refused(instance: Callable[..., Instance]) -> None:
    """One line, before anything is started."""
    running = instance()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", running.port))
        taken.listen()
        assert f"Port {running.port} of 127.0.0.1 is taken" in refused(running)
    assert not (running.data / "postgres").exists()


def test_one_port_for_two_is_refused(instance: Callable[..., Instance]) -> None:
    """HTTP and gRPC on the same port: one line that names both settings."""
    running = instance()
    running.settings["GRPC_PORT"] = str(running.port)
    assert f"port and grpc_port are both {running.port}" in refused(running)


def test_the_doctor_sees_what_runs(
    instance: Callable[..., Instance], capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor asks a running instance's own engines and port, whatever the settings say."""
    running = instance().start()
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


def test_a_folder_has_one_instance(instance: Callable[..., Instance]) -> None:
    """The second names the first, and the first does not notice."""
    first = instance().start()
    line = refused(instance())
    assert "in use by another running instance" in line
    assert str(first.process.pid) in line
    assert first.get("/readyz") == 200


def test_another_version_of_the_database_is_refused(instance: Callable[..., Instance]) -> None:
    """The line says what to set; the data is left alone, and Valkey stops again."""
    running = instance().start()
    running.end()
    version = running.data / "postgres" / "PG_VERSION"
    version.write_text("9\n")
    again = instance()
    assert "was written by PostgreSQL 9" in refused(again)
    assert not again.members()


def test_a_role_with_wrong_settings_ends_it(instance: Callable[..., Instance]) -> None:
    """A role that exits with 2 cannot be helped by another start; its last line is the reason."""
    running = instance("misconfigured")
    assert "the colour of the bicycle shed is missing" in refused(running)
    assert not running.members()


def test_a_failed_migration_ends_it(instance: Callable[..., Instance]) -> None:
    """No role meets a database that is not ready for it."""
    running = instance("broken")
    assert "column already exists" in refused(running)
    assert "worker works" not in running.text()


def test_an_engine_that_dies_before_the_roles_start_comes_back(
    instance: Callable[..., Instance],
) -> None:
    """The migration that lost its database is run again."""
    running = instance("unlucky").start()
    assert running.get("/readyz") == 200
    assert "migrate ended (exit code 1); it is run again" in running.text()


def test_an_engine_that_keeps_dying_before_the_roles_start_is_named(
    instance: Callable[..., Instance],
) -> None:
    """After some tries the line says which engine died and how, and no setting that nobody set."""
    line = refused(instance("cursed"))
    assert "migrate failed (exit code 1): PostgreSQL ended (SIGKILL)" in line
    assert "ATELIER_" not in line


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_folder_that_cannot_be_written_is_refused(
    instance: Callable[..., Instance], open_folder: Path
) -> None:
    """One line for an ordinary user on somebody else's folder."""
    (open_folder / "data").mkdir(mode=0o755)
    assert "cannot be used: Permission denied" in refused(instance(uid=NOBODY))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_an_ordinary_user_needs_nothing(
    instance: Callable[..., Instance], open_folder: Path
) -> None:
    """Without root the same engines run as that user, with nothing outside the data folder."""
    (open_folder / "home").mkdir()
    os.chown(open_folder / "home", NOBODY, NOBODY)
    running = instance(data=open_folder / "home" / "data", uid=NOBODY).start()
    assert running.get("/readyz") == 200
    assert "root" not in running.text()
    assert (running.data / "postgres").stat().st_uid == NOBODY


@pytest.mark.parametrize(
    "name", ["with a space", "quote'and\"more", "percent%20", "кухня", "x" * 120]
)
def test_any_folder_name_will_do(
    instance: Callable[..., Instance], open_folder: Path, name: str
) -> None:
    """Spaces, quotes, other alphabets and paths longer than a socket's address."""
    running = instance(data=open_folder / name).start()
    assert running.get("/readyz") == 200


def test_a_full_disk_is_refused(instance: Callable[..., Instance], open_folder: Path) -> None:
    """One line, and nothing half made."""
    small = open_folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        assert "MiB left" in refused(instance(data=small / "data"))
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
