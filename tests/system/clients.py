"""What whole-system tests do as clients and subscribers of an instance that may be interrupted."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from tests.system.instance import Instance

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"


def upload(client: httpx2.Client, number: int) -> int:
    """Upload once, however often it must be tried: the idempotency key makes the tries one."""
    form = {"title": f"upload {number}", "description": f"Кадр {number}", "tags": "chaos"}
    files = {"file": (f"{number}.jpg", PHOTO.read_bytes(), "image/jpeg")}
    return _acknowledged(client, "/api/images", data=form, files=files)


def _acknowledged(client: httpx2.Client, path: str, **request: Any) -> int:
    """The id of what is made in the end, once."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}

    def made() -> int:
        with suppress(httpx2.HTTPError):
            answer = client.post(path, headers=headers, timeout=PATIENCE_SECONDS / 4, **request)
            if answer.status_code == 201:
                return int(answer.json()["id"])
            assert answer.status_code in (409, 503), answer.text
        time.sleep(0.2)
        return 0

    return until(made, "it was never acknowledged")


def events_seen(instance: Instance) -> dict[str, set[int]]:
    """The sequences of every subject that the processor logged."""
    seen: dict[str, set[int]] = defaultdict(set)
    for line in (instance.data / "logs" / "processor.log").read_text().splitlines():
        if " event image." in line:
            _, _, event = line.partition(" event ")
            _, subject, sequence, *_ = event.split()
            seen[subject].add(int(sequence.removeprefix("#")))
    return seen
