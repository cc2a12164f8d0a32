"""A folder of blobs that cannot be used is refused by every role that needs it and the doctor."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from atelier.commands.doctor import main as examine
from atelier.settings import SettingsError, load
from atelier.startup.folders import require_blobs
from tests.waiting import finished

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def below_a_file(folder: Path) -> Path:
    """A place where no user can make a folder, not even root."""
    (folder / "file").touch()
    return folder / "file" / "pictures"


@pytest.mark.parametrize("role", ["up", "api", "processor", "archiver", "relay"])
def test_a_role_does_not_start_without_a_place_for_blobs(
    below_a_file: Path, folder: Path, role: str
) -> None:
    """One line that names the setting, the path and what is in its way; nothing was started."""
    environment = {
        "PATH": os.environ["PATH"],
        "ATELIER_BLOBS": str(below_a_file),
        "ATELIER_PORT": "0",
    }
    command = [sys.executable, "-m", "atelier", role, "--data", "data"]
    done = finished(command, env=environment)
    reason = f"{below_a_file} cannot be used: Not a directory ({below_a_file.parent})."
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"atelier: ATELIER_BLOBS: {reason}"]
    assert not (folder / "data" / "postgres").exists()


def test_the_doctor_sees_it_too(below_a_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that cannot be made is not promised to be made."""
    assert examine(load(blobs=str(below_a_file), port=0, grpc_port=0)) == 1
    output = capsys.readouterr().out
    assert f"FAILED   blobs      --blobs: {below_a_file} cannot be used: Not a directory" in output
    assert "(will be made)" not in output.partition(" blobs ")[2].partition("\n")[0]


def test_the_setting_is_named_where_it_was_written(folder: Path) -> None:
    """In the file, when it stands there."""
    (folder / "atelier.yaml").write_text("blobs: file/pictures\n")
    (folder / "file").touch()
    with pytest.raises(
        SettingsError, match=r"^blobs in atelier.yaml: \S+/file/pictures cannot be used"
    ):
        require_blobs(load())


def test_a_dangling_link_is_no_folder(folder: Path) -> None:
    """A disk that is not mounted, behind a link: nothing can be made in its place."""
    (folder / "pictures").symlink_to(folder / "unmounted")
    with pytest.raises(SettingsError, match="Not a directory"):
        require_blobs(load(blobs="pictures"))


@contextmanager
def as_unprivileged() -> Iterator[None]:
    """Root is refused nothing, so be somebody else."""
    user = os.geteuid()
    if not user:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("below", ["", "pictures", "pictures/old"])
def test_what_is_closed_to_the_user_is_refused(below: str) -> None:
    """For a folder to be made the one above it counts.

    Who only reads needs no more than to pass through.
    """
    with TemporaryDirectory() as place:
        settings = load(blobs=f"{place}/{below}")
        Path(place).chmod(0o555)
        with (
            as_unprivileged(),
            pytest.raises(SettingsError, match=r"cannot be used: Permission denied"),
        ):
            require_blobs(settings)
        with as_unprivileged():
            require_blobs(settings, write=False)
        Path(place).chmod(0o666)
        with (
            as_unprivileged(),
            pytest.raises(SettingsError, match=r"cannot be used: Permission denied"),
        ):
            require_blobs(settings, write=False)


def test_a_bucket_is_not_looked_at() -> None:
    """A store may become reachable at any time; roles wait for it."""
    require_blobs(load(blobs="s3://bucket"))
