"""What root gives to the unprivileged user, and which capability that user keeps, and why."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.sandbox.capabilities import Capability
from atelier.settings import Settings
from atelier.up import unprivileged
from atelier.up.engines.account import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")
NOBODY = Account("nobody", 65534, 65534)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that any user can reach, and the working directory; Python is open to all."""
    made = Path(tempfile.mkdtemp(prefix="atelier-unprivileged-"))
    made.chmod(0o755)
    monkeypatch.chdir(made)
    monkeypatch.setattr(unprivileged, "_runs", lambda *_: True)
    (made / "data").mkdir()
    os.chown(made / "data", NOBODY.uid, NOBODY.gid)
    yield made
    monkeypatch.chdir("/")
    shutil.rmtree(made)


def needs(folder: Path, **settings: object) -> unprivileged.Needs:
    """What nobody needs for an instance on `data` of this folder."""
    data = folder / "data"
    made = Settings(data=data, **settings)  # type: ignore[arg-type]
    return unprivileged.needs_of(made, data, NOBODY)


def test_with_everything_open_no_capability_is_kept(folder: Path) -> None:
    """Its own rights are enough."""
    assert needs(folder) == unprivileged.Needs()


def test_what_is_closed_to_the_user_may_be_read(folder: Path) -> None:
    """A settings file that root alone can read: the reason names it."""
    (folder / "atelier.yaml").write_text("port: 9000\n")
    (folder / "atelier.yaml").chmod(0o600)
    kept, (reason,) = (found := needs(folder)).kept, found.reasons
    assert kept == {Capability.DAC_READ_SEARCH}
    assert "atelier.yaml is closed to it" in reason


def test_data_under_a_closed_home_can_be_reached(folder: Path) -> None:
    """The user owns it and may write it, once it may pass through the folder above."""
    folder.chmod(0o700)
    assert needs(folder).kept == {Capability.DAC_READ_SEARCH}


def test_blobs_of_another_user_outside_the_data_folder(folder: Path) -> None:
    """They are not given away: it may write them by a capability, until they are its own."""
    (folder / "pictures").mkdir()
    assert needs(folder, blobs=str(folder / "pictures")).kept == {Capability.DAC_OVERRIDE}
    os.chown(folder / "pictures", NOBODY.uid, NOBODY.gid)
    assert needs(folder, blobs=str(folder / "pictures")).kept == set()


def test_a_port_for_which_one_has_to_be_root(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may listen on it, and on nothing else by that."""
    (folder / "start").write_text("1024\n")
    monkeypatch.setattr(unprivileged, "UNPRIVILEGED_PORTS", folder / "start")
    assert needs(folder, port=80).kept == {Capability.NET_BIND_SERVICE}
    assert needs(folder, port=0).kept == set()


def test_what_is_given_is_what_lies_in_the_folder(folder: Path) -> None:
    """No link is followed, and no file is given that the user may have linked in."""
    data, outside = folder / "data", folder / "outside"
    outside.mkdir()
    (outside / "secret").write_text("root's")
    (data / "blobs" / "ab").mkdir(parents=True)
    (data / "blobs" / "ab" / "picture").write_text("")
    (data / "blobs" / "link").symlink_to(outside / "secret")
    (data / "folder").symlink_to(outside)
    theirs = data / "blobs" / "theirs"
    theirs.mkdir()
    (theirs / "planted").hardlink_to(outside / "secret")
    os.chown(theirs, 1, 1)
    unprivileged.give(data, NOBODY)
    owners = {path.relative_to(data).as_posix(): path.lstat().st_uid for path in data.rglob("*")}
    assert owners.pop("blobs/theirs/planted") == 0
    assert set(owners.values()) == {NOBODY.uid}
    assert {path.stat().st_uid for path in (outside, outside / "secret")} == {0}
