"""The captions' font: what cannot be used is refused at the start, by every role that draws or starts one that does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atelier.imaging.coverage import BUNDLED_FONT
from atelier.roles.fonts import require_font
from atelier.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.parametrize("kind", ["nothing", "a folder", "a pipe", "empty", "rubbish", "half a font"])
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


@pytest.mark.parametrize("role", ["processor", "up"])
def test_a_role_does_not_start_with_a_bad_font(tmp_path: Path, role: str) -> None:
    """One line on standard error and exit code 2; `atelier up` has started nothing by then."""
    path = make(tmp_path, "rubbish")
    data = tmp_path / "data"
    environment = {"PATH": os.environ["PATH"], "ATELIER_CAPTION_FONT": str(path)}
    environment["ATELIER_REDIS_URL"] = "redis://127.0.0.1:1"
    command = [sys.executable, "-m", "atelier", role, "--data", str(data)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"atelier: caption_font: {path} cannot be used: it is not a font that FreeType reads"
    ]
    assert not data.exists()
