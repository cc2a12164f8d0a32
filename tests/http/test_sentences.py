"""Details of errors are sentences, wherever they are raised."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import atelier

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(atelier.__file__).parent
# What answers requests or ends in a record; the tools' and roles' own messages follow a name and a
# colon.
TOLD = (
    "accounts", "books", "cache", "database.py", "files", "garbage.py", "http", "images",
    "imaging", "queue", "tasks",
)  # fmt: skip
BASE = "AtelierError"


def trees() -> dict[Path, ast.Module]:
    """Every module of the package."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}


def kinds(modules: dict[Path, ast.Module]) -> set[str]:
    """The names of all errors that become problems."""
    classes = [
        node
        for tree in modules.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    found, size = {BASE}, 0
    while size != len(found):
        size = len(found)
        found |= {
            node.name
            for node in classes
            if any(getattr(base, "id", "") in found for base in node.bases)
        }
    return found


def details(tree: ast.Module, names: set[str]) -> Iterator[tuple[int, str]]:
    """The line and the text of each detail that is written out.

    Values within it are `?`, which begins and ends all.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names and node.args:
            text = node.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            if isinstance(text, ast.JoinedStr | ast.Constant):
                yield (
                    node.lineno,
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "?"
                        for part in parts
                    ),
                )


def test_every_detail_is_a_sentence() -> None:
    """It begins with a capital and ends with a full stop."""
    modules = trees()
    names = kinds(modules)
    assert {"NotFound", "BadPdf", "DecodeTimeout"} <= names
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for place in TOLD
        for path in sorted(modules.keys() & {SOURCE / place, *(SOURCE / place).rglob("*.py")})
        for line, text in details(modules[path], names)
        if text and not ((text[0].isupper() or text[0] in "?`0123456789") and text[-1] in ".?")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('NotFound("no")', ["no"]),
        ('NotFound(f"a {b} c")', ["a ? c"]),
        ("NotFound(x)", []),
        ('print("no")', []),
    ],
)
def test_details_are_found(text: str, found: list[str]) -> None:
    """Written out, and with values in them."""
    assert [detail for _, detail in details(ast.parse(text), {"NotFound"})] == found
