"""Captions of a running instance: what it reports of its font and a missing libfribidi."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.imaging.fonts import called
from tests.imaging.pictures import WATERFALL
from tests.system.instance import Instance, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="hides the library as Linux finds it"
)


@pytest.fixture
def instance(tmp_path: Path, without_fribidi: Path) -> Iterator[Instance]:
    """One without libfribidi, whose font is installed for its user."""
    font = tmp_path / "fonts" / "a.ttf"
    font.parent.mkdir()
    font.write_bytes(called("Atelier One"))
    one = Instance(tmp_path, caption_font="atelier one", grpc_port="0", processor_workers="1")
    one.environment |= {"XDG_DATA_HOME": str(tmp_path), "LD_LIBRARY_PATH": str(without_fribidi)}
    one.start()
    yield one
    one.close()


def test_an_instance_says_how_it_draws_captions(instance: Instance, tmp_path: Path) -> None:
    """The log names the font's file; a missing library is in the log and with each picture."""
    ada = instance.user()
    files = {"file": ("a.jpg", WATERFALL, "image/jpeg")}
    plain, arabic = (
        settled(ada, ada.post("/api/images", files=files, data={"description": text}).json()["id"])
        for text in ("A waterfall", "صورة 2024-05-17")
    )
    assert [plain["status"], arabic["status"]] == ["ready", "ready"]
    instance.stop()
    lines = instance.log.read_text().splitlines()
    said = [line.partition("processor  | ")[2] for line in lines if "processor  | " in line]
    font = tmp_path / "fonts" / "a.ttf"
    assert any(line.endswith(f"captions are drawn in Atelier One Book ({font})") for line in said)
    warnings = [line for line in said if "libfribidi" in line]
    assert len(warnings) == 2
    assert all("WARNING" in line for line in warnings)
    assert f"image {arabic['id']}: its caption is drawn letter by letter" in warnings[1]
    assert any(
        line.strip().startswith("Note") and "Libfribidi is missing" in line for line in lines
    )
