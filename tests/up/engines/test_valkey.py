"""The embedded Valkey: what it keeps, whom it serves, what it refuses."""

from __future__ import annotations

import signal
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from atelier.settings import Settings
from atelier.up.engines import launch_valkey, memory, start_valkey
from atelier.up.engines.errors import EngineMissing, FolderInUse, FolderUnusable
from atelier.up.servers import launches
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atelier.up.engines import Engine

MIB = 1024 * 1024


def test_keeps_keys_over_a_restart(valkey: Callable[..., Engine]) -> None:
    """A clean stop loses nothing, and the URL stays the same."""
    first = valkey()
    with Redis.from_url(first.url) as client:
        client.set("answer", 42)
    first.stop()
    second = valkey()
    assert second.url == first.url
    with Redis.from_url(second.url) as client:
        assert client.get("answer") == b"42"


def test_keeps_keys_over_a_kill(valkey: Callable[..., Engine]) -> None:
    """Kill -9 loses nothing that was appended.

    A torn end of the file does not keep it from starting.
    """
    first = valkey()
    with Redis.from_url(first.url) as client:
        client.set("answer", 42)
        client.execute_command("WAITAOF", 1, 0, 0)  # until it is on disk
    first.process.kill()
    first.process.wait()
    newest = max(first.folder.glob("appendonlydir/*.incr.aof"))
    with newest.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    with Redis.from_url(valkey().url) as client:
        assert client.get("answer") == b"42"


def test_is_a_queue_and_not_a_cache(valkey: Callable[..., Engine]) -> None:
    """It appends, syncs every second, refuses rather than forgets, and listens on no port."""
    with Redis.from_url(valkey().url) as client:
        found = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "port", "save")
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "save": "",
    }
    assert found == wanted


@pytest.mark.parametrize("given", [0, 64 * MIB])
def test_has_so_much_memory(folder: Path, given: int) -> None:
    """What its owner gives it, or no limit."""
    engine = start_valkey(folder, memory=given)
    try:
        with Redis.from_url(engine.url) as client:
            assert client.config_get("maxmemory")["maxmemory"] == str(given)
    finally:
        engine.halt()


def test_the_embedded_one_has_a_share_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the container's memory where that is less, never less than it needs; a setting wins."""
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUPS", (tmp_path / "missing", limit))
    limit.write_text("max\n")
    machine = memory.machine_memory()
    assert memory.valkey_memory() == max(256 * MIB, machine // 4)
    limit.write_text(f"{2048 * MIB}\n")
    assert memory.valkey_memory() == min(machine, 2048 * MIB) // 4
    limit.write_text(f"{128 * MIB}\n")
    assert memory.valkey_memory() == 256 * MIB
    for given in (None, 300 * MIB):
        launch = launches(Settings(data=tmp_path, valkey_memory=given))["redis_url"]
        assert isinstance(launch, partial)
        assert launch.keywords["memory"] == (given or 256 * MIB)


def test_serves_its_owner_only(valkey: Callable[..., Engine]) -> None:
    """Neither folder nor socket can be entered by others."""
    engine = valkey()
    assert stat.S_IMODE(engine.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((engine.folder / "valkey.sock").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["a b", "quote'\"", "кухня", "x" * 120])
def test_any_folder_name_will_do(valkey: Callable[..., Engine], folder: Path, name: str) -> None:
    """Spaces, quotes, other alphabets, paths longer than a socket's address."""
    with Redis.from_url(valkey(folder / name / "valkey").url) as client:
        assert client.ping()


def test_a_folder_has_one_server(valkey: Callable[..., Engine]) -> None:
    """Two on one append-only file would ruin it."""
    first = valkey()
    with pytest.raises(FolderInUse):
        valkey(patience_seconds=0.2)
    with Redis.from_url(first.url) as client:
        assert client.ping()


def test_stops_by_itself_when_asked_by_the_kernel(valkey: Callable[..., Engine]) -> None:
    """Its death signal is an orderly stop; the lock is free afterwards."""
    first = valkey()
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(PATIENCE_SECONDS) == 0
    assert valkey().is_alive()


def test_no_program_is_an_error_that_says_what_to_set(folder: Path) -> None:
    """Both ways out are named."""
    with pytest.raises(EngineMissing, match="ATELIER_REDIS_URL or ATELIER_VALKEY_BIN"):
        launch_valkey(folder / "valkey", binary=folder / "nothing")


def test_a_file_in_the_way(folder: Path) -> None:
    """The message names the path."""
    (folder / "valkey").write_text("")
    with pytest.raises(FolderUnusable, match="valkey cannot be used"):
        launch_valkey(folder / "valkey")
