"""Headers are read by threads of their own, which bad pictures may fill without holding others."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from atelier.http.resources import PROBERS
from tests.images.conftest import Person
from tests.imaging.identify.hostile import HOSTILE
from tests.waiting import patience

if TYPE_CHECKING:
    from fastapi import FastAPI


async def test_busy_probers_hold_uploads_alone(application: FastAPI, ada: Person) -> None:
    """While every prober is busy an upload waits, and whatever else needs a thread goes on."""
    free = threading.Event()
    for _ in range(PROBERS):
        application.state.resources.probers.submit(free.wait)
    try:
        uploading = asyncio.create_task(ada.upload())
        async with patience():
            assert (await ada.client.get("/metrics")).status_code == 200
            assert (await ada.client.get("/api/files/")).status_code == 200
        assert not uploading.done()
    finally:
        free.set()
    async with patience():
        assert (await uploading)["status"] == "queued"


async def test_a_header_beyond_the_budget_is_no_picture(ada: Person) -> None:
    """415 where its size is not reached; where only metadata is left out, it is a picture."""
    flood = HOSTILE["jpeg-empty-segments"]()
    assert (await ada.upload(content=flood, expect=415))["type"] == "/problems/bad-picture"
    assert (await ada.upload(content=HOSTILE["tiff-overlapping"]()))["format"] == "TIFF"
