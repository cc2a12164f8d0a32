"""How long one picture of a second owner waits behind many of a first: decision 143.

    python -m benchmarks.decisions.picture_turns [PICTURES]

Starts an instance of its own with as many sandboxes as the machine has cores.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from benchmarks.pipeline import one, ready, upload
from tests.system.instance import Instance

PICTURES = 1_000
CLIENTS = 16
ALONE = 10  # pictures of the second owner while nobody else sends any


def client_of(instance: Instance, email: str) -> httpx2.AsyncClient:
    """A client of a new user."""
    headers = {"Authorization": instance.user(email).headers["Authorization"]}
    return httpx2.AsyncClient(base_url=instance.url, headers=headers, timeout=600)


async def measure(instance: Instance, pictures: int) -> None:
    """Send all of the first owner's, then one of the second's, and print what that one took."""
    async with (
        client_of(instance, "first@example.org") as first,
        client_of(instance, "second@example.org") as second,
    ):
        alone = sorted([await one(second) for _ in range(ALONE)])[ALONE // 2]
        began, sent = time.perf_counter(), asyncio.Semaphore(CLIENTS)

        async def send() -> str:
            async with sent:
                return await upload(first)

        urls = await asyncio.gather(*(send() for _ in range(pictures)))
        taken = time.perf_counter() - began
        behind = await one(second, 0.05)
        await asyncio.gather(*(ready(first, url, 0.5) for url in urls[-CLIENTS:]))
        whole = time.perf_counter() - began
    print(f"alone {alone:.0f} ms; behind {pictures}: {behind / 1000:.1f} s")
    print(f"{pictures} were taken in {taken:.1f} s and ready after {whole:.1f} s")


def main(pictures: int) -> None:
    """Measure on an instance of its own."""
    with tempfile.TemporaryDirectory(prefix="atelier-turns-") as folder:
        Path(folder).chmod(0o755)
        instance = Instance(Path(folder))
        instance.start()
        try:
            asyncio.run(measure(instance, pictures))
        finally:
            instance.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
