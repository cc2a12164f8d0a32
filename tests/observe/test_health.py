"""Health and metrics of a role that is no web server; and the probe that asks for them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from atelier.observe import health, probe
from atelier.observe.exposition import REGISTRY, ChildrensErrors, ErrorCounter, Exposition
from atelier.observe.health import (
    ASK_SECONDS,
    HEAD_BYTES,
    HealthServer,
    PortTaken,
    Pulse,
    Readiness,
    bind,
    listening,
)
from atelier.settings import PREFIX, Settings, load
from atelier.up.engines import running
from atelier.up.preflight import metrics_ports
from tests.ports import free_port, free_ports
from tests.waiting import PATIENCE_SECONDS, eventually, patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STUCK = 60.0


async def works() -> None:
    """A dependency that answers."""


async def fails() -> None:
    """One that does not."""
    raise ConnectionRefusedError("nobody there")


@asynccontextmanager
async def served(pulse: Pulse | None = None, **checks: health.Check) -> AsyncIterator[int]:
    """The port of a role with these dependencies."""
    answers = HealthServer(Exposition(REGISTRY), checks, STUCK, pulse or Pulse())
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0, limit=HEAD_BYTES)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def say(port: int, request: bytes) -> bytes:
    """All that comes back for these bytes; nothing when the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(request)
        with suppress(ConnectionResetError):  # closed before it was read
            return await reader.read()
    return b""


async def get(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    return await asyncio.to_thread(probe.ask, "127.0.0.1", port, path)


async def test_ready_names_each_dependency() -> None:
    """All that a role depends on is asked."""
    async with served(queue=works, bus=works) as port:
        assert await get(port, "/readyz") == (
            200,
            '{"status":"ready","checks":{"queue":"ok","bus":"ok"}}',
        )


async def test_not_ready_says_which(caplog: pytest.LogCaptureFixture) -> None:
    """503 names what is away and not why; the log says why."""
    async with served(queue=works, bus=fails) as port:
        status, body = await get(port, "/readyz")
    assert status == 503
    assert '"checks":{"queue":"ok","bus":"unreachable"}' in body
    assert "nobody there" not in body
    assert "nobody there" in caplog.text


async def test_alive_while_loops_come_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has not come round for too long makes the role be restarted.

    An outage of a dependency does not.
    """
    pulse = Pulse()
    pulse.beat("queue")
    async with served(pulse, bus=fails) as port:
        assert (await get(port, "/healthz"))[0] == 200
        now = health.time.monotonic()
        monkeypatch.setattr(health.time, "monotonic", lambda: now + STUCK + 1)
        status, body = await get(port, "/healthz")
    assert (status, "queue" in body) == (503, True)


async def test_metrics_are_what_prometheus_reads() -> None:
    """Build and process are among them."""
    async with served() as port:
        status, body = await get(port, "/metrics")
    assert status == 200
    assert "atelier_build_info{" in body
    assert "process_cpu_seconds_total " in body


async def test_errors_in_the_log_are_counted() -> None:
    """A line of level ERROR counts, a warning does not."""
    counter = logging.getLogger("atelier.test_health")
    handler = ErrorCounter()
    before = REGISTRY.get_sample_value("atelier_log_errors_total") or 0
    counter.addHandler(handler)
    counter.warning("so so")
    counter.error("bad")
    counter.removeHandler(handler)
    assert REGISTRY.get_sample_value("atelier_log_errors_total") == before + 1


async def test_errors_of_children_are_counted_by_their_parent() -> None:
    """A forked child logs an error and dies: the parent shows one more, once."""
    shared = ChildrensErrors(4)
    before = REGISTRY.get_sample_value("atelier_log_errors_total") or 0
    child = get_context("fork").Process(target=_fail, args=(shared,))
    child.start()
    await asyncio.to_thread(child.join)
    for _ in range(2):
        await shared.collect()
    assert REGISTRY.get_sample_value("atelier_log_errors_total") == before + 1


def _fail(shared: ChildrensErrors) -> None:
    shared.install(5)
    logging.getLogger("atelier.child").error("bad")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /elsewhere HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics?x=" + b"y" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics?x=" + b"y" * 1024 * 1024 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /healthz?x=1 HTTP/1.0\r\n\r\n", b"200"),
    ],
)
async def test_every_request_has_an_answer(request_: bytes, status: bytes) -> None:
    """A malformed request is refused, whatever its size."""
    async with served() as port:
        assert (await say(port, request_)).startswith(b"HTTP/1.1 " + status)


async def test_head_has_no_body() -> None:
    """Only its length."""
    async with served() as port:
        head, _, body = (await say(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")
    assert (b"content-length: 15" in head, body) == (True, b"")


async def test_silent_clients_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that asks nothing is closed."""
    monkeypatch.setattr(health, "CLIENT_SECONDS", 0.2)
    async with served() as port:
        assert await say(port, b"GET /") == b""


async def test_silent_clients_do_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a connection asks nothing others are answered."""
    monkeypatch.setattr(health, "CLIENT_SECONDS", PATIENCE_SECONDS)
    async with served() as port:
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        with closing(silent):
            silent.write(b"GET /")
            await silent.drain()
            assert (await get(port, "/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("limit", "refusal"), [("CONNECTIONS", b"503 "), ("CLIENT_CONNECTIONS", b"429 ")]
)
async def test_too_many_clients_are_sent_away(
    monkeypatch: pytest.MonkeyPatch, limit: str, refusal: bytes
) -> None:
    """One more than can be open, in all or from one address, is told to come again."""
    monkeypatch.setattr(health, limit, 1)
    async with served() as port:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        with closing(first):
            answer = await say(port, b"")
            assert answer.startswith(b"HTTP/1.1 " + refusal)
            assert b"retry-after: " in answer
        await eventually(lambda: say(port, b"\r\n\r\n"))


async def test_other_clients_are_answered_beside_many_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address that holds all that it may holds nothing that others need."""
    monkeypatch.setattr(health, "CLIENT_SECONDS", PATIENCE_SECONDS)
    async with served() as port, AsyncExitStack() as stack:
        for _ in range(health.CLIENT_CONNECTIONS + 1):
            connection = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=("127.0.0.2", 0)
            )
            stack.enter_context(closing(connection[1]))
        assert (await connection[0].read()).startswith(b"HTTP/1.1 429 ")
        assert (await get(port, "/healthz"))[0] == 200


async def test_a_client_that_takes_no_answer_is_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits for it is thrown away with the connection."""
    monkeypatch.setattr(health, "CLIENT_SECONDS", 0.2)

    async def large(*_: object) -> health.Answer:
        return health.Answer(200, health.JSON, b"x" * 16 * 1024 * 1024)

    monkeypatch.setattr(HealthServer, "answer", large)
    async with served() as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            error = partial(client.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
            assert await eventually(error) == errno.ECONNRESET


async def test_nothing_listens_unless_asked(tmp_path: Path) -> None:
    """Without `metrics_port` no port is opened; with one that is taken the role says so."""
    async with listening(load(data=tmp_path), {}):
        pass
    with closing(bind("127.0.0.1", 0)) as taken:
        taken.listen()
        settings = load(data=tmp_path, metrics_port=taken.getsockname()[1])
        with pytest.raises(
            PortTaken,
            match=r"Port \d+ of 127.0.0.1 is taken .* choose another ATELIER_METRICS_PORT",
        ):
            async with listening(settings, {}):
                pass


async def test_processes_of_one_port_show_all(tmp_path: Path) -> None:
    """Two processes of a role share the port, and either answers for both."""
    port = free_port()
    settings = load(data=tmp_path, metrics_port=port)

    async def both_are_shown() -> bool:
        return (await get(port, "/metrics"))[1].count("atelier_build_info{") == 2

    async with listening(settings, {}, processes=2), listening(settings, {}, processes=2):
        await eventually(both_are_shown)


def test_ports_under_up_are_in_a_row(tmp_path: Path) -> None:
    """In the order of the documentation, for the roles that run."""
    first = free_ports(6)[0]
    ports = metrics_ports(
        load(data=tmp_path, metrics_port=first), ["api", "relay", "files", "grpc"]
    )
    there = {"relay": first + 2, "grpc": first + 3, "files": first + 4, "api": first + 5}
    assert ports == there
    assert metrics_ports(load(data=tmp_path), ["relay"]) == {}


@pytest.mark.parametrize("first", [7998, 50051, 65533])
def test_ports_that_clash_are_found_before_the_start(tmp_path: Path, first: int) -> None:
    """Ports that overlap another setting's or exceed the last port are refused with advice."""
    settings = load(data=tmp_path, port=8000, grpc_port=50051, metrics_port=first)
    with pytest.raises(PortTaken, match="ATELIER_METRICS_PORT asks for"):
        metrics_ports(settings, ["relay"])


def test_a_taken_port_is_found_before_the_start(tmp_path: Path) -> None:
    """Which port, and which setting to change."""
    with closing(bind("127.0.0.1", 0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} .* ATELIER_METRICS_PORT"):
            metrics_ports(load(data=tmp_path, metrics_port=port), ["processor"])


def probed(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`atelier probe` with these settings, and every module that it imported on standard error."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    command = [sys.executable, "-X", "importtime", "-m", "atelier", "probe", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=ours | environment,
        cwd=folder,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


async def test_probe_tells_ready_from_not(tmp_path: Path) -> None:
    """Exit code 0 or 1 and what the role said.

    It imports neither settings nor web frameworks for that.
    """
    async with served(bus=works) as port:
        done = await asyncio.to_thread(
            probed, tmp_path, ATELIER_METRICS_PORT=str(port), ATELIER_HOST="0.0.0.0"
        )
    assert (done.returncode, done.stdout) == (0, '{"status":"ready","checks":{"bus":"ok"}}\n')
    assert "pydantic" not in done.stderr
    async with served(bus=fails) as port:
        done = await asyncio.to_thread(probed, tmp_path, ATELIER_PORT=str(port))
    assert (done.returncode, '"bus":"unreachable"' in done.stdout) == (1, True)


async def test_probe_reads_the_file_of_settings(tmp_path: Path) -> None:
    """A port from atelier.yaml is asked; without an answer the exit code is 1."""
    port = free_port()
    (tmp_path / "atelier.yaml").write_text(f"metrics_port: {port}\n")
    done = await asyncio.to_thread(probed, tmp_path)
    assert (done.returncode, f"no answer from 127.0.0.1:{port}" in done.stdout) == (1, True)


@pytest.mark.parametrize("words", [(), ("--data", "data")])
async def test_probe_finds_the_instance_of_the_data_folder(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Whatever port it was started on.

    What an instance left that was killed does not stand in the way of another.
    """
    (tmp_path / "data").mkdir()
    unused = str(free_port())
    async with served(bus=works) as port:
        running.note(tmp_path / "data", {"port": str(port)})
        done = await asyncio.to_thread(probed, tmp_path, *words, ATELIER_PORT=unused)
        assert done.returncode == 0, done.stdout
        running.note(tmp_path / "data", {"port": unused})
        done = await asyncio.to_thread(probed, tmp_path, *words, ATELIER_PORT=str(port))
        assert done.returncode == 0, done.stdout


async def test_probe_says_how_to_find_an_instance(tmp_path: Path) -> None:
    """Without an answer, the message says how to name another instance."""
    port = free_port()
    done = await asyncio.to_thread(probed, tmp_path, ATELIER_PORT=str(port))
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith(
        "name the instance's folder by --data, or its port by --port"
    )


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ATELIER_PROT", "1", "unknown environment variable ATELIER_PROT"),
        ("ATELIER_LOG_FORMAT", "xml", "LOG_FORMAT"),
    ],
)
async def test_probe_complains_of_settings(
    tmp_path: Path, variable: str, value: str, words: str
) -> None:
    """An unknown name, and an invalid value when nothing answers."""
    port = free_port()
    done = await asyncio.to_thread(
        probed, tmp_path, **{variable: value, "ATELIER_PORT": str(port)}
    )
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_probe_knows_every_setting() -> None:
    """It reads their names where they are written, and imports nothing for that."""
    assert {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} == probe._variables()


async def test_probe_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that accepts and never answers is not ready."""
    monkeypatch.setattr(probe, "DEADLINE_SECONDS", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        status, said = await asyncio.to_thread(probe.ask, "127.0.0.1", mute.getsockname()[1])
    assert (status, "timed out" in said) == (0, True)


async def test_probe_gives_up_on_what_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is of the whole answer, however steadily it drips."""
    monkeypatch.setattr(probe, "DEADLINE_SECONDS", 0.3)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with patience():
            status, said = await asyncio.to_thread(probe.ask, "127.0.0.1", port)
    assert (status, "timed out" in said) == (0, True)


async def test_a_dependency_is_asked_once_a_second() -> None:
    """Of a hundred clients at once one asks it, and all get its answer; later it is asked anew."""
    asked, answering = [], asyncio.Event()

    async def dependency() -> None:
        asked.append(1)
        await answering.wait()

    readiness = Readiness({"database": dependency})
    clients = [asyncio.create_task(readiness.ask()) for _ in range(100)]
    await asyncio.sleep(0)
    clients[0].cancel()  # the one who began it goes away
    answering.set()
    said = await asyncio.gather(*clients[1:])
    assert said == [{"database": "ok"}] * 99
    assert len(asked) == 1
    assert await readiness.ask() == {"database": "ok"}
    assert len(asked) == 1
    readiness._asked -= ASK_SECONDS
    await readiness.ask()
    assert len(asked) == 2
