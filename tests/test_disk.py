"""Files that survive a crash, and locks on files."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from atelier.disk import fsync, lock, replace


def test_a_file_is_replaced_whole_and_durably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new bytes are on disk before they get the name, and the name before the call returns."""
    path, seen = tmp_path / "kept", []
    path.write_bytes(b"old")
    real = os.fsync

    def traced(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink(), path.read_bytes()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", traced)
    replace(path, b"new")
    assert seen == [(tmp_path / "kept.new", b"old"), (tmp_path, b"new")]
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    """What lies there unfinished is replaced, with the mode that was asked for."""
    path = tmp_path / "secret"
    (tmp_path / "secret.new").write_bytes(b"half of a long")
    (tmp_path / "secret.new").chmod(0o644)
    replace(path, b"whole", mode=0o600)
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_names_of_a_folder_can_be_made_durable(tmp_path: Path) -> None:
    """A folder is taken like a file, and what is missing is said."""
    fsync(tmp_path)
    with pytest.raises(FileNotFoundError):
        fsync(tmp_path / "missing")


def test_a_lock_is_refused_while_another_holds_it(tmp_path: Path) -> None:
    """The second is refused at once, or waits for the first to let go if it is told to."""
    path = tmp_path / "lock"
    held = lock(path)
    with pytest.raises(BlockingIOError):
        lock(path)
    got: list[int] = []
    waiting = threading.Thread(target=lambda: got.append(lock(path, wait=True)))
    waiting.start()
    assert not got
    os.close(held)
    waiting.join(60)
    os.close(got[0])
    os.close(lock(path))
