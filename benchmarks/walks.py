"""Walks: how many functions and files of Atelier a request passes through in the API process.

The API role itself runs, with its server, on engines of its own. A profiler notes every call in
every thread. A request's walk is what all its repetitions have in common, so that nothing counts
which merely happened at the same time. Comprehensions are no functions.

    python -m benchmarks.walks [--show "file upload"]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx2

import atelier
from atelier.roles import api
from atelier.settings import Settings
from benchmarks.engines import engines, signed_in
from benchmarks.files import free_port

SOURCE = str(Path(atelier.__file__).parent)
PHOTO = (Path(__file__).parents[1] / "tests" / "photos" / "waterfall_640x480.jpg").read_bytes()
BOOK = {"title": "Emma", "author": "Jane Austen", "publication_date": "1815-12-23"}
SECRET = "s" * 32
WARM, COUNTED = 5, 5  # repetitions of each request
SETTLE_SECONDS = 0.2  # the server is still at it when the client has the answer
START_SECONDS = 30
Walk = set[CodeType]
Ask = Callable[[], httpx2.Response]


class Profiler:
    """Notes which functions of Atelier are called, while it is told to, in all threads."""

    def __init__(self) -> None:
        self._walk: Walk | None = None
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def common(self, ask: Ask) -> Walk:
        """What every repetition of a request calls."""
        for _ in range(WARM):
            answer(ask)
        return set.intersection(*(self._walk_of(ask) for _ in range(COUNTED)))

    def _walk_of(self, ask: Ask) -> Walk:
        walk: Walk = set()
        self._walk = walk
        answer(ask)
        self._walk = None
        return walk

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if self._walk is None or event != "call" or not code.co_filename.startswith(SOURCE):
            return
        if not code.co_name.startswith("<") or code.co_name == "<lambda>":
            self._walk.add(code)


def answer(ask: Ask) -> None:
    """Ask, and wait until nothing is left of the request."""
    ask().raise_for_status()
    time.sleep(SETTLE_SECONDS)


def requests(client: httpx2.Client) -> dict[str, Ask]:
    """The requests, by name."""
    image = client.post("/api/images", files={"file": ("a.jpg", PHOTO)}).json()["id"]
    for _ in range(WARM + COUNTED):
        client.post(
            "/api/tasks", data={"meta": "Red?"}, files={"image": ("a.jpg", PHOTO)}
        ).raise_for_status()
    return {
        "image upload": lambda: client.post("/api/images", files={"file": ("a.jpg", PHOTO)}),
        "file upload": lambda: client.post("/api/upload/", files={"file": ("a.jpg", PHOTO)}),
        "task take": lambda: client.post("/api/tasks/take"),
        "book create": lambda: client.post("/api/books", json=BOOK),
        "image record": lambda: client.get(f"/api/images/{image}/info"),
    }


def place(code: CodeType) -> str:
    """File and name of a function."""
    return f"{code.co_filename.removeprefix(SOURCE)[1:]} {code.co_qualname}"


def walk_all(port: int, token: str, profiler: Profiler, shown: str | None) -> None:
    """Ask for everything, print the figures, and end this process's server."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30
        ) as client:
            await_ready(client)
            print("| request | functions | files |\n|---|---|---|")
            for name, ask in requests(client).items():
                walk = profiler.common(ask)
                print(f"| {name} | {len(walk)} | {len({code.co_filename for code in walk})} |")
                if name == shown:
                    print(*sorted(map(place, walk)), sep="\n")
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def await_ready(client: httpx2.Client) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            client.get("/healthz").raise_for_status()
        except httpx2.ConnectError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def main() -> int:
    """Start everything, walk, stop everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", help="name of a request whose functions are listed")
    options = parser.parse_args()
    profiler = Profiler()  # first: threads that exist already are not seen
    with engines() as (folder, postgres, valkey):
        settings = Settings(
            data=folder,
            database_url=postgres.url,
            redis_url=valkey.url,
            secret=SECRET,
            port=free_port(),
        )
        token = signed_in(postgres.url, SECRET)
        walking = (settings.port, token, profiler, options.show)
        # uvicorn sends itself the signal once more when it is done; engines are still to halt
        signal.signal(signal.SIGTERM, lambda *_: None)
        threading.Thread(target=walk_all, args=walking).start()
        return api.main(settings)


if __name__ == "__main__":
    sys.exit(main())
