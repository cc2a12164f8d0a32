"""A team at work while API processes are killed and one of its members is removed."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest

from tests.chaos.evidence import address
from tests.system.clients import PHOTO
from tests.system.conftest import running
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.instance import Instance

KILLS = 2  # before the removal, and as many after it
DEEDS = 8  # of each writer that are acknowledged between two kills
HEARD_SECONDS = 1.0  # by then every process knows that a member was removed
LOOKS = 45  # of the removed member
EVENTS = """
    SELECT type, subject, actor, space_id, data ->> 'title' FROM outbox
    WHERE subject LIKE 'images/%%' AND data ->> 'space_id' = %s
"""
TRANSIENT = (409, 429, 503)


class Gone(Exception):
    """The space is not there for this writer any more."""


class Ledger:
    """What was acknowledged, and what may have happened besides."""

    def __init__(self) -> None:
        self.titles: dict[int, set[str]] = {}  # that a picture may have now
        self.deleted: set[int] = set()
        self.unsure: set[int] = set()  # perhaps deleted
        self.done: Counter[tuple[str, str, str | None, str]] = Counter()  # as events tell it
        self.tried: set[tuple[str, str | None]] = set()  # titles of what was never acknowledged
        self.deeds: Counter[str] = Counter()
        self.lock = threading.Lock()

    def acknowledge(self, who: str, type_: str, image_id: int, title: str | None) -> None:
        """Note a deed."""
        with self.lock:
            self.done[type_, f"images/{image_id}", who, title or ""] += 1
            self.deeds[who] += 1


class Writer:
    """One member, who uploads, changes and deletes in a thread until told to stop or removed."""

    def __init__(self, client: httpx2.Client, space: int, ledger: Ledger, free: list[int]) -> None:
        self.client, self.space, self.ledger = client, space, ledger
        self.free = free  # pictures that no writer has in hand
        self.id: int = client.get("/api/users/me").json()["id"]
        self.name = f"users/{self.id}"
        self.choose = random.Random(self.id)
        self.stop = threading.Event()
        self.removed = False
        self.faults: list[str] = []
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        """Do one thing after the other, and keep what went wrong."""
        try:
            while not self.stop.is_set():
                self.choose.choice([self.upload, self.upload, self.change, self.delete])()
        except Gone:
            self.removed = True
        except Exception as error:
            self.faults.append(f"{self.name}: {error!r}")

    def ask(
        self, method: str, path: str, good: tuple[int, ...], **request: Any
    ) -> httpx2.Response:
        """Send a request until it is acknowledged; 404 is good after a try without an answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self.client.request(method, path, **request)
            except httpx2.HTTPError:
                if method == "DELETE":
                    good = (*good, 404)
            else:
                if answer.status_code in good:
                    return answer
                if answer.status_code == 404:
                    raise Gone
                assert answer.status_code in TRANSIENT, answer.text
            time.sleep(0.05)
        raise AssertionError(f"{method} {path} was never acknowledged")

    def upload(self) -> None:
        """Add a picture to the team's."""
        title = uuid.uuid4().hex
        self.ledger.tried.add(("image.created", title))
        answer = self.ask(
            "POST",
            "/api/images",
            (201,),
            params={"space": self.space},
            headers={"Idempotency-Key": title},
            data={"title": title},
            files={"file": ("a.jpg", PHOTO.read_bytes(), "image/jpeg")},
        )
        image_id = answer.json()["id"]
        with self.ledger.lock:
            self.ledger.titles[image_id] = {title}
            self.free.append(image_id)
        self.ledger.acknowledge(self.name, "image.created", image_id, title)

    def taken(self) -> int | None:
        """A picture that nobody else changes for now."""
        with self.ledger.lock:
            if not self.free:
                return None
            return self.free.pop(self.choose.randrange(len(self.free)))

    def change(self) -> None:
        """Give some picture, anybody's, another title."""
        if (image_id := self.taken()) is None:
            return
        title = uuid.uuid4().hex
        with self.ledger.lock:
            self.ledger.titles[image_id].add(title)
        self.ledger.tried.add(("image.updated", title))
        self.ask("PATCH", f"/api/images/{image_id}", (200,), json={"title": title})
        with self.ledger.lock:
            self.ledger.titles[image_id] = {title}
            self.free.append(image_id)
        self.ledger.acknowledge(self.name, "image.updated", image_id, title)

    def delete(self) -> None:
        """Delete some picture, anybody's."""
        if (image_id := self.taken()) is None:
            return
        self.ledger.unsure.add(image_id)
        if self.ask("DELETE", f"/api/images/{image_id}", (204,)).status_code == 404:
            return  # the try without an answer did it, or this is the answer to a stranger
        self.ledger.deleted.add(image_id)
        self.ledger.acknowledge(self.name, "image.deleted", image_id, None)


@pytest.fixture
def instance() -> Iterator[Instance]:
    """One with two API processes."""
    with running(api_workers="2", processor_workers="1") as instance:
        yield instance


def team_of(owner: httpx2.Client, member: httpx2.Client) -> int:
    """A space of two."""
    space = owner.post("/api/spaces", json={"name": "Herbarium"}).json()["id"]
    body = {"space_id": space, "role": "editor"}
    invited = until(lambda: _made(owner.post("/api/invitations", json=body)))
    answer = member.post("/api/invitations/accept", json={"token": invited["token"]})
    assert answer.status_code == 201, answer.text
    time.sleep(HEARD_SECONDS)
    return int(space)


def _made(answer: httpx2.Response) -> dict[str, Any]:
    """What was made; nothing by a process that has not heard yet of the space."""
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 201 else {}


def repeated(send: Callable[[], httpx2.Response]) -> httpx2.Response:
    """The answer, however often its process is killed."""

    def answered() -> httpx2.Response | None:
        with suppress(httpx2.HTTPError):
            answer = send()
            return None if answer.status_code in TRANSIENT else answer
        return None

    answer = until(answered)
    assert answer is not None
    return answer


def kill_some(instance: Instance, ledger: Ledger, writers: list[Writer]) -> None:
    """Kill an API process again and again, whenever every writer has got something done."""
    for number in range(KILLS):
        began = dict(ledger.deeds)
        busy = [writer for writer in writers if writer.thread.is_alive()]
        until(
            lambda began=began, busy=busy: all(  # type: ignore[misc]
                ledger.deeds[writer.name] >= began.get(writer.name, 0) + DEEDS
                or not writer.thread.is_alive()
                for writer in busy
            ),
            lambda: f"{ledger.deeds} {[writer.faults for writer in writers]}",
        )
        pids = until(lambda: instance.pids("api"))
        instance.slay(pids[number % len(pids)])


def test_a_team_works_on_while_processes_die_and_a_member_is_removed(instance: Instance) -> None:
    """Nobody removed sees anything a second later, nothing acknowledged is lost.

    Events name who did it and the space.
    """
    ada, bob = instance.user(), instance.user("bob@example.org")
    owner, eve = instance.user(), instance.user("bob@example.org")  # other sessions of both
    space, ledger, free = team_of(ada, bob), Ledger(), list[int]()
    writers = [Writer(client, space, ledger, free) for client in (ada, bob)]
    for writer in writers:
        writer.thread.start()
    try:
        kill_some(instance, ledger, writers)
        list_ = f"/api/images?space={space}"
        assert repeated(lambda: eve.get(list_)).status_code == 200
        path = f"/api/spaces/{space}/members/{writers[1].id}"
        assert repeated(lambda: owner.delete(path)).status_code in {204, 404}
        time.sleep(HEARD_SECONDS)
        killer = threading.Thread(target=kill_some, args=(instance, ledger, writers))
        killer.start()
        seen = looks(eve, space, [*ledger.titles])
        killer.join()
    finally:
        for writer in writers:
            writer.stop.set()
        for writer in writers:
            writer.thread.join()
    assert [writer.faults for writer in writers] == [[], []]
    assert writers[1].removed
    assert seen == Counter({404: LOOKS})
    nothing_is_lost(owner, space, ledger)
    events_are_right(instance, space, ledger, {writer.name for writer in writers})
    assert looks(eve, space, [*ledger.titles]) == Counter({404: LOOKS})


def looks(client: httpx2.Client, space: int, images: list[int]) -> Counter[int]:
    """The statuses of what somebody gets who looks everywhere."""
    choose, seen = random.Random(space), Counter[int]()
    for number in range(LOOKS):
        image = f"/api/images/{choose.choice(images)}"
        paths = [
            *(f"/api/images?space={space}", f"/api/tasks?space={space}"),
            *(f"/api/files?space={space}", f"/api/spaces/{space}", image),
            *(f"{image}/info", f"{image}/renditions/original"),
            *(f"/api/spaces/{space}/members", f"{image}/renditions/100x100"),
        ]
        path = paths[number % len(paths)]
        answer = repeated(lambda path=path: client.get(path))  # type: ignore[misc]
        seen[answer.status_code] += 1
    return seen


def nothing_is_lost(owner: httpx2.Client, space: int, ledger: Ledger) -> None:
    """Every picture that was acknowledged is there as it was left, and none that was deleted."""
    found: dict[int, dict[str, Any]] = {}
    url = f"/api/images?space={space}&limit=500"
    while url:
        page = repeated(lambda url=url: owner.get(url))  # type: ignore[misc]
        found |= {record["id"]: record for record in page.json()}
        url = page.links.get("next", {}).get("url", "")
    assert not found.keys() & ledger.deleted
    kept = ledger.titles.keys() - ledger.unsure
    assert kept
    assert kept <= found.keys()
    for image_id in kept:
        assert found[image_id]["title"] in ledger.titles[image_id]
        path = f"{found[image_id]['url']}/renditions/original"
        original = repeated(lambda path=path: owner.get(path))  # type: ignore[misc]
        assert original.content == PHOTO.read_bytes()
    titles = {title for _, title in ledger.tried}
    for image_id in found.keys() - kept:  # an upload, or a deletion, without an answer
        assert found[image_id]["title"] in titles


def events_are_right(instance: Instance, space: int, ledger: Ledger, people: set[str]) -> None:
    """Each deed was announced once, by its actor, and nothing was that nobody tried."""
    with psycopg.connect(address(instance, "database_url")) as connection:
        rows = connection.execute(EVENTS, [str(space)]).fetchall()
    told: Counter[tuple[str, str, str | None, str]] = Counter()
    by: dict[str, set[str | None]] = defaultdict(set)
    for type_, subject, actor, where, title in rows:
        assert where == space
        by[type_].add(actor)
        told[type_, subject, actor, "" if type_ == "image.deleted" else title] += 1
    assert set(told.values()) == {1}
    missing = ledger.done - told
    assert not missing
    for type_, subject, actor, title in told - ledger.done:
        assert type_ in {"image.processed", "image.failed"} or actor in people
        if type_ in {"image.created", "image.updated"}:
            assert (type_, title) in ledger.tried
        elif type_ == "image.deleted":
            assert int(subject.rpartition("/")[2]) in ledger.unsure
    assert by["image.processed"] <= {None}
    assert by["image.created"] == by["image.updated"] == people
