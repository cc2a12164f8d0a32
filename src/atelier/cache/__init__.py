"""The cache of records and small pictures on Redis, and that of blobs in this process."""

from __future__ import annotations

from atelier.cache.aside import Cache
from atelier.cache.memory import Memory

__all__ = ["Cache", "Memory"]
