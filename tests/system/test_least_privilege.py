"""Each part of an instance has the rights and secrets that it needs, and no others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from atelier.sandbox.capabilities import Capability
from atelier.settings.needs import NEEDS, confidential
from atelier.up.engines import running
from tests.system.clients import upload
from tests.system.instance import settled
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from tests.system.instance import Instance

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")
PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"
DDL = (
    "CREATE TABLE mine (id int)",
    "DROP TABLE books",
    "ALTER TABLE users ADD COLUMN more int",
    "TRUNCATE books",
    "UPDATE alembic_version SET version_num = '0001'",
    "CREATE ROLE other SUPERUSER",
)


def test_the_roles_can_change_rows_and_nothing_else(shared: Instance) -> None:
    """All that users do works by a database role that may change no table and no other role."""
    client = shared.user()
    assert settled(client, upload(client, 1))["status"] == "ready"
    book = {"title": "a", "author": "b", "publication_date": "1999-01-01"}
    made = client.post("/api/books", json=book)
    assert made.status_code == 201
    assert client.patch(made.headers["location"], json={"title": "c"}).status_code == 200
    assert client.delete(made.headers["location"]).status_code == 204
    task = client.post("/api/tasks", files={"image": PHOTO.read_bytes()}, data={"meta": "m"})
    assert task.status_code == 201
    assert client.post("/api/tasks/take").status_code == 200
    sent = client.post("/api/upload/", files={"file": ("a.txt", b"one\ntwo\n")})
    assert sent.status_code == 201
    where = f"/api/files/{sent.json()['id']}/"
    until(lambda: client.get(where).json()["processed"])
    assert client.delete(where).status_code == 204
    assert shared.command("check").returncode == 0
    url = running.noted(shared.data, "database_url")
    assert url
    for statement in DDL:
        with psycopg.connect(url) as connection, pytest.raises(psycopg.Error) as refused:
            connection.execute(statement)
        assert refused.value.sqlstate == "42501", statement  # insufficient_privilege


def variables(pid: int) -> dict[str, str]:
    """The environment of a process."""
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.mark.parametrize("role", sorted(NEEDS.keys() - {"migrate"}))
def test_each_role_has_the_secrets_that_it_needs(shared: Instance, role: str) -> None:
    """Those of the table, and of the rest not even the text, under any name."""
    held = {name: running.noted(shared.data, name) for name in ("database_url", "redis_url")}
    held |= {
        "migration_url": running.noted(shared.data, "migration_url"),
        "secret": (shared.data / "secret").read_text(),
    }
    [pid] = shared.pids(role)
    environment = variables(pid)
    got = {name for name in confidential() if f"ATELIER_{name.upper()}" in environment}
    assert got == {name for name in held if name in NEEDS[role]}
    texts = "\n".join(environment.values())
    assert {name for name, value in held.items() if value and value in texts} == got


def identity(pid: int) -> tuple[set[int], int, str]:
    """User ids, effective capabilities, and whether no program can give more, of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return (
        {int(one) for one in fields["Uid"].split()},
        int(fields["CapEff"], 16),
        fields["NoNewPrivs"].strip(),
    )


@as_root
def test_started_as_root_nothing_runs_as_root(shared: Instance) -> None:
    """The supervisor, engines and roles are one unprivileged user, and the start screen says so.

    Where Python is closed to that user, all that is left of root is the right to read.
    """
    assert shared.process
    until(lambda: "everything runs as the user" in shared.log.read_text(), shared.log.read_text)
    family = {shared.process.pid: [], **shared.members()}
    owner = shared.data.stat().st_uid
    assert owner != 0
    users, held, closed = zip(*map(identity, family), strict=True)
    assert set().union(*users) == {owner}
    assert set(closed) == {"1"}
    assert set(held) <= {0, 1 << Capability.DAC_READ_SEARCH}
    if any(held):
        assert "it may read every file, for" in shared.log.read_text()


@as_root
def test_what_root_left_in_the_data_folder_is_given_away(instance: Instance) -> None:
    """An instance that ran as root goes on as the user; nothing outside the folder changes hands.

    Commands that root runs beside it leave nothing that it could not use.
    """
    client = instance.user()
    kept = settled(client, upload(client, 1))
    assert instance.stop() == 0
    outside = instance.folder / "outside"
    outside.write_text("root's")
    for path in [*instance.data.rglob("*"), instance.data]:
        if "postgres" not in path.relative_to(instance.data).parts:
            os.chown(path, 0, 0, follow_symlinks=False)
    (instance.data / "logs" / "link").symlink_to(outside)
    instance.start()
    instance.login(client, "ada@example.org")
    assert client.get(kept["url"]).status_code == 200
    assert settled(client, upload(client, 2))["status"] == "ready"
    assert outside.stat().st_uid == 0
    done = instance.command("backup", str(instance.folder / "backups"))
    assert done.returncode == 0, done.stdout + done.stderr
    strangers = [path for path in instance.data.rglob("*") if path.lstat().st_uid == 0]
    assert strangers == []


SYSTEM = f"/usr/bin/python3.{sys.version_info.minor}"


def open_python(folder: Path) -> str:
    """A virtual environment that every user can enter, with the packages of this one."""
    home = folder / "venv"
    subprocess.run([SYSTEM, "-m", "venv", "--without-pip", home], check=True)
    ours = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    (site,) = home.glob("lib/*/site-packages")
    (site / "ours.pth").write_text("\n".join(ours) + "\n")
    # What redis needs below Python 3.11.3, and the lock leaves out.
    (site / "async_timeout.py").write_text("from asyncio import timeout")
    return str(home / "bin" / "python")


@as_root
@pytest.mark.skipif(not Path(SYSTEM).exists(), reason="no Python here that another user can run")
def test_where_the_user_can_reach_everything_no_capability_is_left(instance: Instance) -> None:
    """With a Python, a package and a data folder open to it, it has its own rights only."""
    python = open_python(instance.folder)
    probe = [python, "-P", "-c", "import atelier, pydantic_settings, typer"]
    seen = subprocess.run(
        probe,
        check=False,
        capture_output=True,
        cwd="/",
        timeout=PATIENCE_SECONDS,
        user=65534,
        group=65534,
        extra_groups=[],
    )
    if seen.returncode:
        pytest.skip("the packages are closed to other users")
    instance.stop()
    instance.python = python
    instance.start()
    assert instance.process
    for pid in (instance.process.pid, *instance.members()):
        users, held, closed = identity(pid)
        assert (0 in users, held, closed) == (False, 0, "1")
    client = instance.user()
    assert settled(client, upload(client, 1))["status"] == "ready"


@as_root
def test_root_stays_root_when_told_so(instance: Instance) -> None:
    """With `user: root` roles run as before, and PostgreSQL as its own user."""
    instance.stop()
    shutil.rmtree(instance.data)
    instance.environment["ATELIER_USER"] = "root"
    instance.start()
    [api] = instance.pids("api")
    assert identity(api)[0] == {0}
