"""Hashes and verifies passwords with Argon2id, off the event loop. Knows no account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from atelier.wire import texts
from atelier.wire.networks import client_network
from atelier.wire.turns import Turns

HASHERS = 2  # passwords hashed at once: each takes 64 MiB and about 50 ms
HASHERS_BACKLOG = 100  # waiting beyond these would take longer than a client waits
CLIENT_BACKLOG = 50  # of one client network
T = TypeVar("T")


class Passwords:
    """Argon2id off the event loop, `HASHERS` at once.

    `HASHERS_BACKLOG` may wait, `CLIENT_BACKLOG` of one client network, and these are served in
    rotation: who sends many keeps nobody else waiting. `client` is the address of who asks.
    """

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._threads = ThreadPoolExecutor(HASHERS, "argon2")
        self._turns = Turns(HASHERS, per_client=CLIENT_BACKLOG, total=HASHERS_BACKLOG)

    async def hash(self, password: str, client: str = "") -> str:
        """Return the encoded hash to store."""
        return await self._run(client, self._hash, password)

    async def verify(self, encoded: str | None, password: str, client: str = "") -> bool:
        """Return whether `password` matches `encoded`.

        None (no such user) never matches and takes the same time.
        """
        return await self._run(client, self._verify, encoded, password)

    def outdated(self, encoded: str) -> bool:
        """Return whether `encoded` has other parameters than today's.

        It should be replaced at the next login then.
        """
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, client: str, work: Callable[..., T], *args: object) -> T:
        async with self._turns.turn(client_network(client)):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_composed(password))

    def _verify(self, encoded: str | None, password: str) -> bool:
        if encoded is None:
            # The work of a verification, with the same parameters.
            self._hasher.hash(_composed(password))
            return False
        try:
            return self._hasher.verify(encoded, _composed(password))
        except (VerificationError, InvalidHashError):
            return False


def _composed(password: str) -> str:
    """Normalise to NFC, so that a password typed on another keyboard is the same one."""
    return texts.squeezed(password)
