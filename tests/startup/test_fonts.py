"""A font of captions that cannot be used is refused at the start by every role that needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from atelier.imaging.coverage import BUNDLED_FONT
from atelier.imaging.fontfiles import FontFile
from atelier.settings import Settings, SettingsError
from atelier.startup.fonts import require_font
from tests.imaging.fonts import called
from tests.waiting import finished


def make(folder: Path, kind: str) -> Path:
    """A path that no caption can be set in."""
    path = folder / "font.ttf"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "half a font":
        path.write_bytes(BUNDLED_FONT.read_bytes()[:100])
    elif kind != "nothing":
        path.write_bytes(b"" if kind == "empty" else b"%PDF-1.7 no font")
    return path


@pytest.mark.parametrize(
    "kind", ["nothing", "a folder", "a pipe", "empty", "rubbish", "half a font"]
)
def test_a_bad_font_is_refused(tmp_path: Path, kind: str) -> None:
    """One sentence with the setting and the path, whatever stands there."""
    path = make(tmp_path, kind)
    with pytest.raises(SettingsError, match=rf"^caption_font: {path} cannot be used: \w[^\n]+$"):
        require_font(Settings(caption_font=path))


def test_a_good_font_is_taken(tmp_path: Path) -> None:
    """The bundled one from another place, and none at all."""
    path = tmp_path / "copy.ttf"
    path.write_bytes(BUNDLED_FONT.read_bytes())
    require_font(Settings(caption_font=path))
    require_font(Settings())


def test_a_font_is_known_by_path_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, a file of the working folder, and the name of an installed font lead to one file."""
    path = tmp_path / "fonts" / "file.ttf"
    path.parent.mkdir()
    path.write_bytes(called("Atelier One"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(path.parent)
    named = FontFile(path, 0, "Atelier One", "Book")
    assert require_font(Settings(caption_font=str(path))) == named
    assert require_font(Settings(caption_font="atelier one")) == named
    assert require_font(Settings(caption_font="file.ttf")) == replace(named, path=Path("file.ttf"))


def test_an_unknown_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the setting, the name and where it was looked for."""
    (tmp_path / "fonts").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(SettingsError) as refusal:
        require_font(Settings(caption_font="No Such Font"))
    said = "caption_font: No Such Font cannot be used: there is no such file, and no font of that"
    assert refusal.value.detail.startswith(said)
    assert str(tmp_path / "fonts") in refusal.value.detail


def test_a_path_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value written as a path is never taken for the name of another font."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"there is no such file$"):
        require_font(Settings(caption_font="./DejaVuSans.ttf"))


def test_a_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` in a path is the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.ttf").write_bytes(called("Atelier One"))
    assert require_font(Settings(caption_font="~/a.ttf")).path == tmp_path / "a.ttf"


@pytest.mark.parametrize("role", ["processor", "up"])
def test_a_role_does_not_start_with_a_bad_font(tmp_path: Path, role: str) -> None:
    """One line on standard error and exit code 2; `atelier up` has started nothing by then."""
    path = make(tmp_path, "rubbish")
    data = tmp_path / "data"
    environment = {"PATH": os.environ["PATH"], "ATELIER_CAPTION_FONT": str(path)}
    environment["ATELIER_REDIS_URL"] = "redis://127.0.0.1:1"
    command = [sys.executable, "-m", "atelier", role, "--data", str(data)]
    done = finished(command, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"atelier: caption_font: {path} cannot be used: it is not a font that FreeType reads"
    ]
    assert not data.exists()


@pytest.mark.parametrize("role", ["processor", "up"])
def test_a_role_does_not_start_with_a_name_that_no_font_has(tmp_path: Path, role: str) -> None:
    """As for a bad path: one line on standard error and exit code 2."""
    data = tmp_path / "data"
    environment = {"PATH": os.environ["PATH"], "ATELIER_CAPTION_FONT": "No Such Font"}
    environment["ATELIER_REDIS_URL"] = "redis://127.0.0.1:1"
    command = [sys.executable, "-m", "atelier", role, "--data", str(data)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    said = "atelier: caption_font: No Such Font cannot be used: there is no such file"
    assert line.startswith(said)
    assert not data.exists()
