"""The wheel that containers and pip install."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
DATA = {".lua", ".ttf", ".js", ".css", ".html", ".typed", ".mako"}


def test_the_wheel_holds_what_the_package_reads(tmp_path: Path) -> None:
    """Scripts for Redis, fonts and the package's other files stand in it beside the modules."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    there = set(ZipFile(wheel).namelist())
    source = ROOT / "src"
    needed = {
        str(path.relative_to(source))
        for path in (source / "atelier").rglob("*")
        if path.suffix in DATA | {".py"}
    }
    assert any(name.endswith(".lua") for name in needed)
    assert needed <= there
