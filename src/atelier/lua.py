"""Lua scripts, which Redis runs in one step, read from the package's files."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = str | bytes | int


class Script:
    """The script in a file of a package: called by digest, sent in full when Redis has lost it."""

    def __init__(self, package: str, path: str) -> None:
        self._source = files(package).joinpath(path).read_text(encoding="utf-8")
        self._digest = sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: Collection[str], *args: Argument) -> Any:
        """Run the script on `redis`."""
        try:
            return await redis.evalsha(self._digest, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(self._source, len(keys), *keys, *args)
