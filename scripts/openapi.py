"""Writes the OpenAPI document to standard output, as `/openapi.json` serves it.

Needs no engine.
"""

from __future__ import annotations

import sys
from typing import Any

from atelier.http.encoding import dumps
from atelier.roles import api
from atelier.settings import Settings


def document() -> dict[str, Any]:
    """The document of the whole application."""
    nowhere = Settings(
        database_url="postgresql://nowhere/x", redis_url="redis://nowhere", secret="-" * 32
    )  # nothing is opened until the first request
    return api.build(nowhere).openapi()


if __name__ == "__main__":
    sys.stdout.buffer.write(dumps(document()))
