"""An API whose clock is off: what is compared with the database's times comes from its clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from atelier.accounts import sessions as accounts
from atelier.events.messages import utcnow
from atelier.images import service as images
from atelier.tasks import service as tasks

if TYPE_CHECKING:
    from tests.images.conftest import Person


@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
async def test_uploads_are_taken_whatever_the_clock_says(
    ada: Person, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A host whose clock is an hour off stores pictures, tasks and files, and keeps sessions."""
    signed_in = await ada.client.post(
        "/api/auth/token", data={"username": ada.email, "password": "correct horse battery"}
    )
    now = timezone.now
    for slice_ in (images, tasks, accounts):
        monkeypatch.setattr(slice_, "utcnow", lambda: utcnow() + timedelta(hours=hours))
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(hours=hours))

    await ada.upload()
    content = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0"
    task = await ada.client.post(
        "/api/tasks", files={"image": ("a.png", content, "image/png")}, data={"meta": "m"}
    )
    assert task.status_code == 201, task.text
    file = await ada.client.post("/api/upload/", files={"file": ("a.txt", b"text", "text/plain")})
    assert file.status_code == 201, file.text
    refreshed = await ada.client.post(
        "/api/auth/refresh", json={"refresh_token": signed_in.json()["refresh_token"]}
    )
    assert refreshed.status_code == 200, refreshed.text
