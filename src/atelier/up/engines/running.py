"""Where the embedded engines and the ports of a data folder are, for commands that run beside `atelier up`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

FILE = "engines.json"


def note(folder: Path, urls: Mapping[str, str]) -> None:
    """Write down URLs and ports, by the name of their setting, for this machine's user alone."""
    draft = folder / f"{FILE}.new"
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps(dict(urls)))
    draft.replace(folder / FILE)


def noted(folder: Path, name: str) -> str | None:
    """The URL of an engine, or a port, that is or was in use until its supervisor was killed; None after a stop."""
    try:
        urls = orjson.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return urls.get(name) if isinstance(urls, dict) else None


def forget(folder: Path) -> None:
    """The engines have been stopped."""
    (folder / FILE).unlink(missing_ok=True)
