"""Generated pages are fresh, written ones complete, and links lead to existing targets."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from scripts.reference import PAGES, REFERENCE

ROOT = Path(__file__).parents[2]
MARKDOWN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
EVENT_MODULES = [
    "atelier.images.events",
    "atelier.accounts.events",
    "atelier.tasks.events",
    "atelier.books.events",
    "atelier.files.events",
]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


@pytest.mark.parametrize("name", PAGES)
def test_made_pages_are_fresh(name: str) -> None:
    """The output of `make docs` is committed."""
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name]()


@pytest.mark.parametrize("module", EVENT_MODULES)
def test_every_event_is_documented(module: str) -> None:
    """Each event type of each slice has a row in events.md."""
    page = (REFERENCE / "events.md").read_text(encoding="utf-8")
    constants = {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if name.isupper()
    }
    texts = [value for value in constants.values() if isinstance(value, str)]
    types = [text for text in texts if re.fullmatch(r"[a-z]+\.[a-z]+", text)]
    assert types
    assert [type_ for type_ in types if f"`{type_}`" not in page] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link in the documentation names a file that exists."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(page: Path) -> None:
    """Every `atelier COMMAND` and `make TARGET` that the documentation shows is one."""
    text = page.read_text(encoding="utf-8")
    known = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^## atelier (\S+)", known, re.MULTILINE))
    targets = set(
        re.findall(
            r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    shown = set(re.findall(r"(?:`|\$ |bin/)atelier ([a-z]+)", text))
    made = set(re.findall(r"(?:`|\$ )make ([a-z][a-z-]*)", text))
    assert shown <= commands
    assert made <= targets
