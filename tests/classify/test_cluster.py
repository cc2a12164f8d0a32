"""With Celery, Redis and RabbitMQ, each picture is classified once, whatever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from atelier.classify.chunks import Chunk, Piece, do, read
from atelier.classify.cluster import STANDSTILL_SECONDS, Ordered, lost
from atelier.classify.jobs import QUEUE, make_app, sender
from atelier.classify.outcomes import Failure, Result
from atelier.up.engines import start_valkey
from tests.classify.tool import Tool, fill
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.classify.tool import Service


class Workers:
    """Celery workers as processes."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, concurrency: int = 1, log: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
        """Start one more."""
        command = [sys.executable, "-m", "atelier", "classify", "worker", self.broker]
        command += ["--concurrency", str(concurrency)]
        with log.open("wb") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        self._running.append(process)
        return self._running[-1]

    def kill(self) -> None:
        """Kill them and what they started, with -9."""
        for process in self._running:
            for pid in descendants(process.pid):
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
            process.wait()
        self._running.clear()


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in descendants(int(child)))]


def made(name: str, **fields: Any) -> Chunk:
    """A chunk of that name."""
    where: dict[str, Any] = {"folder": "", "root": b"", "pieces": [], "url": "", "headers": []}
    how: dict[str, Any] = {
        "rotate": True,
        "resize": True,
        "timeout": PATIENCE_SECONDS,
        "tries": 2,
        "concurrency": 4,
    }
    return Chunk(
        name,
        **(
            where
            | how
            | {"pixels": 10**7, "seconds": PATIENCE_SECONDS, "memory": 1 << 30}
            | fields
        ),
    )


def chunk(folder: Path, pictures: Path, url: str, names: list[str]) -> Chunk:
    """A chunk of pictures, as the run would order it."""
    pieces = [Piece(n, name.encode()) for n, name in enumerate(names)]
    order = made(
        "walk-0-0", folder=str(folder), root=os.fsencode(pictures), pieces=pieces, url=url
    )
    return msgspec.json.decode(msgspec.json.encode(order), type=Chunk)


async def test_a_chunk_becomes_one_file(tmp_path: Path, pictures: Path, service: Service) -> None:
    """All lines or no file; done again, nothing is asked; nothing else stays in the folder."""
    (pictures / "text.jpg").write_text("no picture")
    order = chunk(tmp_path, pictures, service.url, ["00.jpg", "text.jpg", "none.jpg"])
    before = set(tmp_path.iterdir())
    assert await do(order) == "3 pictures"
    lines = {line.n: line for line in read(order.done)}
    assert isinstance(lines[0], Result)
    assert [line.kind for _, line in sorted(lines.items()) if isinstance(line, Failure)] == [
        "not_an_image",
        "vanished",
    ]
    assert await do(order) == "done before"
    assert service.counts()["asked"] == 1
    assert set(tmp_path.iterdir()) - before == {order.done}


async def test_a_chunk_says_that_it_was_given_up(
    tmp_path: Path, pictures: Path, start_service: Callable[..., Service]
) -> None:
    """The rest of it is not asked for, and is neither an answer nor a failure."""
    service = start_service("--garbage", "1")
    order = chunk(tmp_path, pictures, service.url, ["00.jpg"])
    order.tries, order.wrong_answers = 100, 1
    await do(order)
    assert [line[:8] for line in read(order.done) if isinstance(line, str)] == ["not JSON"]


async def test_a_chunk_of_a_forgotten_run_is_dropped(
    tmp_path: Path, pictures: Path, service: Service
) -> None:
    """Without its folder a chunk is obsolete, and the service is not asked."""
    order = chunk(tmp_path / "gone", pictures, service.url, ["00.jpg"])
    assert await do(order) == "obsolete"
    assert service.counts()["asked"] == 0


def ordered(number: int, *, begun: float | None = None, alive: float = 0.0) -> Ordered:
    """A chunk in the queue, as the run sees it."""
    one = Ordered(made(f"walk-0-{number}"), number)
    one.begun, one.alive = begun, alive
    return one


@pytest.mark.parametrize(
    ("chunks", "life", "numbers"),
    [
        ([ordered(1), ordered(2)], 1000.0, []),
        ([ordered(1, begun=1.0, alive=999.0), ordered(2)], 999.0, []),
        ([ordered(1, begun=1.0, alive=900.0), ordered(2)], 999.0, [1]),
        ([ordered(1), ordered(2, begun=1.0, alive=999.0), ordered(3)], 999.0, [1]),
        ([ordered(1), ordered(2, begun=990.0, alive=999.0)], 999.0, []),
        ([ordered(5), ordered(4)], 999.0 - STANDSTILL_SECONDS, [4]),
        ([], 0.0, []),
    ],
)
def test_which_chunks_are_lost(chunks: list[Ordered], life: float, numbers: list[int]) -> None:
    """Begun and silent, or overtaken in the queue; waiting in a slow queue is not lost.

    At a standstill the oldest.
    """
    assert [one.number for one in lost(chunks, life, 1000.0, 60.0)] == numbers


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest) -> str:
    """A broker's URL, as Celery writes it."""
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        return url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
    found: str = request.getfixturevalue("amqp_url")
    return found


@pytest.fixture
def workers(broker: str) -> Iterator[Workers]:
    """Workers that end with the test."""
    made = Workers(broker)
    yield made
    made.kill()
    if broker.startswith("amqp"):
        with make_app(broker).connection_for_write() as connection:
            connection.default_channel.queue_delete(QUEUE)


def assert_every_picture_once(tool: Tool, report: dict[str, Any], count: int) -> None:
    """Each picture has one line, and the report counts the lines."""
    lines = tool.results()
    assert len({line["path"] for line in lines}) == len(lines) == count
    assert report["classified"] == count


def test_a_cluster_does_what_one_machine_does(
    tmp_path: Path, start_service: Callable[..., Service], workers: Workers
) -> None:
    """Two workers share the chunks; a worker and the run are killed on the way.

    Every picture is there once.
    """
    service = start_service("--latency", "0.01")
    fill(tmp_path / "many", 600)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    options = (
        "--celery",
        workers.broker,
        "--chunk",
        "50",
        "--concurrency",
        "2",
        "--chunk-silence",
        "6",
        "--json",
    )
    victim = workers.start()
    tool.start(service.url, *options)
    until(tool.results)
    for pid in descendants(victim.pid):
        os.kill(pid, 9)
    workers.start(2)
    held = len(tool.results())
    until(lambda: len(tool.results()) > held)
    tool.kill()
    time.sleep(0.5)
    tool.start(service.url, *options)
    if workers.broker.startswith("redis"):
        # Celery on Redis forgets what a killed worker held: the run has to order it again
        workers.kill()
        workers.start(2)
    code, said = tool.finish()
    assert code == 0
    assert_every_picture_once(tool, msgspec.json.decode(said), 600)
    assert not list(tool.output.with_name("out.jsonl.journal").glob("chunks-*"))


def test_a_worker_outlives_its_broker(
    tmp_path: Path,
    pictures: Path,
    start_service: Callable[..., Service],
    request: pytest.FixtureRequest,
) -> None:
    """Redis dies while the worker's only place is taken.

    What is sent when it is back is done by the same worker.
    """
    engine = start_valkey(tmp_path / "valkey")
    url = engine.url.replace("unix://", "redis+socket://")
    workers = Workers(url)
    request.addfinalizer(workers.kill)
    request.addfinalizer(engine.halt)
    service = start_service("--latency", "6")  # in which the broker can be killed
    first, second = (
        chunk(tmp_path, pictures, service.url, [name]) for name in ("00.jpg", "01.jpg")
    )
    second = msgspec.structs.replace(second, name="walk-0-1")
    sender(url)(first)
    log = tmp_path / "log"
    worker = workers.start(log=log)
    until(lambda: service.counts()["asked"])
    engine.process.kill()
    engine.process.wait()
    until(lambda: "Couldn't ack" in log.read_text())
    successor = start_valkey(tmp_path / "valkey")
    request.addfinalizer(successor.halt)
    sender(url)(second)
    until(second.done.exists)
    assert worker.poll() is None
