"""What only requests about pictures can meet."""

from __future__ import annotations

from atelier.errors import Conflict


class InUse(Conflict):
    """Tasks are made of this picture."""

    slug = "picture-in-use"
