"""The URLs and ports of a running `atelier up`, for commands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

FILE = "engines.json"


def note(folder: Path, urls: Mapping[str, str]) -> None:
    """Write down URLs and ports by the name of their setting, readable for this user alone."""
    draft = folder / f"{FILE}.new"
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps(dict(urls)))
    draft.replace(folder / FILE)


def noted(folder: Path, name: str) -> str | None:
    """Return the noted URL or port of a setting; None after a regular stop.

    The note of a supervisor that was killed remains.
    """
    try:
        urls = orjson.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return urls.get(name) if isinstance(urls, dict) else None


def forget(folder: Path) -> None:
    """Remove the note: the engines have stopped."""
    (folder / FILE).unlink(missing_ok=True)
