"""The URLs and ports of a running `atelier up`, for commands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from atelier.disk import replace
from atelier.observe.probe import ENGINES


def note(folder: Path, urls: Mapping[str, str]) -> None:
    """Write down URLs and ports, by the name of their setting, for this machine's user alone."""
    replace(folder / ENGINES, orjson.dumps(dict(urls)), mode=0o600)


def noted(folder: Path, name: str) -> str | None:
    """Return the noted URL or port of a setting; None after a regular stop.

    The note of a supervisor that was killed remains.
    """
    try:
        urls = orjson.loads((folder / ENGINES).read_bytes())
    except (OSError, ValueError):
        return None
    return urls.get(name) if isinstance(urls, dict) else None


def forget(folder: Path) -> None:
    """The engines have been stopped."""
    (folder / ENGINES).unlink(missing_ok=True)
