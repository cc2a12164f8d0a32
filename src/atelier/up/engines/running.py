"""Where the engines and ports of a data folder are, for commands that run beside `atelier up`."""

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
    """The URL of an engine, or a port: in use, or until its supervisor was killed.

    None after a stop.
    """
    try:
        urls = orjson.loads((folder / ENGINES).read_bytes())
    except (OSError, ValueError):
        return None
    return urls.get(name) if isinstance(urls, dict) else None


def forget(folder: Path) -> None:
    """The engines have been stopped."""
    (folder / ENGINES).unlink(missing_ok=True)
