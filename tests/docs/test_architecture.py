"""The page on the architecture names what is there, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "atelier"
PAGE = ROOT / "docs" / "discussions" / "architecture.md"


def drawn() -> set[str]:
    """The folders and files of the package that the page's tree begins its lines with."""
    tree = PAGE.read_text().partition("```\nsrc/atelier/\n")[2].partition("\n```")[0]
    found: set[str] = set()
    for line in tree.splitlines():
        if match := re.match(r"  ((?:\w+(?:/|\.py)\s+)+)", line):
            found.update(match[1].split())
    return found


def test_the_tree_is_the_packages() -> None:
    """Each top-level folder and module of the package stands in the tree once, and no other."""
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/*.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert drawn() == folders | modules


def test_modules_that_the_page_names_exist() -> None:
    """A dotted name such as `roles.relay` leads to a module, or to something that a module has."""
    text = PAGE.read_text().rpartition("```")[2]
    for name in re.findall(r"`((?:roles|images|imaging|events)\.[\w.]+)`", text):
        parts = name.split(".")
        module = PACKAGE.joinpath(*parts[:2]).with_suffix(".py")
        assert module.is_file(), name
        assert all(re.search(rf"\b{part}\b", module.read_text()) for part in parts[2:]), name
