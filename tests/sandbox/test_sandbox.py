"""Calls into the sandbox: what comes back, how each failure is told, and what stays behind."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sandbox_targets import Made, Wish
from sandbox_tools import alive, cpu_seconds, open_sandbox

from atelier.errors import AtelierError, NotFound, Unavailable
from atelier.imaging.errors import BadPicture
from atelier.sandbox.sandbox import (
    DecodeCrashed,
    DecodeFailed,
    DecodeMemory,
    DecodeTimeout,
    Sandbox,
)
from tests.waiting import eventually, gone, patience, until

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20


def open_descriptors() -> int:
    """Count what this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox[Any]]:
    """One child for all tests that leave a sandbox as they found it."""
    with open_sandbox(warm_up="sandbox_targets:warm_up", warm_up_args=["ready"]) as sandbox:
        yield sandbox


@pytest.mark.parametrize("size", [0, 1, 16 * 1024 - 1, 16 * 1024, 300_000, 50 * MIB])
def test_values_travel(size: int) -> None:
    """Dataclasses and bytes of any size come back as the types that the function declares."""
    data = os.urandom(size)
    with open_sandbox("make", list[Made]) as sandbox:
        made = sandbox.call_sync(Wish("a", (size, 10)), data)
    assert made == [Made(Wish("a", (size,)), data), Made(Wish("a", (10,)), data[:10])]


async def test_asyncio_caller(sandbox: Sandbox[Any]) -> None:
    """An asyncio caller gets the same answer as a synchronous one."""
    assert await sandbox.call("echo", {"a": [1, 2.5, None, "x"]}) == {"a": [1, 2.5, None, "x"]}


def test_warm_up_runs_once_before_the_first_call(sandbox: Sandbox[Any]) -> None:
    """The warm-up function is called once, with its arguments."""
    assert sandbox.call_sync("warmed") == ["ready"]


def test_child_persists(sandbox: Sandbox[Any]) -> None:
    """Calls that succeed or are refused do not cost a new child."""
    before = sandbox.call_sync("pid")
    with pytest.raises(BadPicture):
        sandbox.call_sync("raise", "bad")
    with pytest.raises(DecodeFailed):
        sandbox.call_sync("raise", "value")
    assert sandbox.call_sync("pid") == before


def test_known_kind_comes_back(sandbox: Sandbox[Any]) -> None:
    """An error that the function raises on purpose keeps its kind, its reason and its slug."""
    with pytest.raises(BadPicture) as caught:
        sandbox.call_sync("raise", "bad")
    assert (caught.value.detail, caught.value.slug) == ("half of it is missing", "bad-picture")


def test_unknown_kind_comes_back_as_its_nearest_known_base(sandbox: Sandbox[Any]) -> None:
    """A class that only the child has is not imported: the parent raises a base that it knows."""
    with pytest.raises(NotFound, match="no page 7") as caught:
        sandbox.call_sync("raise", "elsewhere")
    assert type(caught.value) is NotFound


@pytest.mark.parametrize("kind", ["value", "syntax"])
def test_any_other_error_fails_the_call(
    sandbox: Sandbox[Any], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever else a decoder raises becomes one plain failure.

    Its text is for the log, not for the caller.
    """
    with caplog.at_level(logging.WARNING), pytest.raises(DecodeFailed) as caught:
        sandbox.call_sync("raise", kind)
    assert type(caught.value) is DecodeFailed
    assert str(caught.value) == "The decoder failed on this content."
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("action", ["recurse", "unserialisable"])
def test_recursion_and_results_that_cannot_travel_fail_the_call(
    sandbox: Sandbox[Any], action: str
) -> None:
    """A RecursionError or a result of no known type is a plain failure too."""
    with pytest.raises(DecodeFailed):
        sandbox.call_sync(action)


@pytest.mark.parametrize(
    "arguments", [("bomb",), ("raise", "memory"), ("raise", "glib"), ("raise", "hungry")]
)
def test_memory_bomb(sandbox: Sandbox[Any], arguments: tuple[str, ...]) -> None:
    """Exceeding the memory limit is reported as such, however the decoder words it.

    The next call works.
    """
    with pytest.raises(DecodeMemory, match="more than 512 MiB"):
        sandbox.call_sync(*arguments)
    assert sandbox.call_sync("echo", 1) == 1


def test_abort_for_lack_of_memory(sandbox: Sandbox[Any]) -> None:
    """A library that aborts because memory ran out is no crash, but a lack of memory."""
    with pytest.raises(DecodeMemory):
        sandbox.call_sync("cry and abort")


@pytest.mark.parametrize(
    ("action", "argument", "reason"),
    [
        ("abort", None, "SIGABRT"),
        ("segfault", None, "SIGSEGV"),
        ("signal", 9, "SIGKILL"),
        ("signal", 31, "SIGSYS"),
        ("exit", 3, "exit status 3"),
        ("exit", 0, "exit status 0"),
        ("sys.exit", 4, "exit status 4"),
    ],
)
def test_crash(sandbox: Sandbox[Any], action: str, argument: int | None, reason: str) -> None:
    """A child that dies fails its call with the signal's name; the next call works."""
    with pytest.raises(DecodeCrashed) as caught:
        sandbox.call_sync(action, argument)
    assert str(caught.value) == f"The decoder crashed ({reason})."
    assert sandbox.call_sync("echo", 1) == 1


def test_what_a_crashed_child_said_is_logged(
    sandbox: Sandbox[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The end of a dead child's standard error is in the log, in one line."""
    with caplog.at_level(logging.WARNING), pytest.raises(DecodeCrashed):
        sandbox.call_sync("abort")
    assert "Fatal Python error: Aborted" in caplog.text
    assert "\n" not in caplog.messages[-1]


def test_chatter_is_bounded(sandbox: Sandbox[Any], caplog: pytest.LogCaptureFixture) -> None:
    """A child may write any amount to standard error without blocking; little of it is kept."""
    assert sandbox.call_sync("chatter", 3 * MIB) == 3 * MIB
    with caplog.at_level(logging.WARNING), pytest.raises(DecodeCrashed):
        sandbox.call_sync("exit", 1)
    assert len(caplog.messages[-1]) < 5_000


def pid_of(sandbox: Sandbox[int]) -> int:
    """The pid of its child, however short the limit of time and busy the machine."""
    while True:
        with suppress(DecodeTimeout):
            return sandbox.call_sync("pid")


@pytest.mark.parametrize("action", ["sleep", "spin"])
def test_hang(action: str) -> None:
    """A call that takes too long is ended, waiting or computing.

    The next call works in a new child.
    """
    with open_sandbox(seconds=0.5) as sandbox:
        pid = pid_of(sandbox)
        with pytest.raises(DecodeTimeout, match=r"longer than 0\.5 s"):
            sandbox.call_sync(action, 600)
        assert not alive(pid)
        assert pid_of(sandbox) != pid


def test_stopped_child_times_out() -> None:
    """A child that does not even read its arguments is ended as well."""
    with open_sandbox(seconds=0.5) as sandbox:
        os.kill(pid_of(sandbox), 19)
        with pytest.raises(DecodeTimeout):
            sandbox.call_sync("echo", bytes(8 * MIB))


def test_hostile_answer(sandbox: Sandbox[Any]) -> None:
    """A child that answers rubbish crashes its own call only."""
    with pytest.raises(DecodeCrashed, match="no proper answer"):
        sandbox.call_sync("forge")
    assert sandbox.call_sync("echo", 1) == 1


def test_answer_of_another_type() -> None:
    """A result that is not of the declared type is not passed on."""
    with (
        open_sandbox("act", int) as sandbox,
        pytest.raises(DecodeCrashed, match="no proper answer"),
    ):
        sandbox.call_sync("echo", "seven")


def test_answer_over_the_limit() -> None:
    """A result larger than the parent accepts is not read."""
    with open_sandbox(answer=MIB) as sandbox:
        assert len(sandbox.call_sync("echo", bytes(MIB // 2))) == MIB // 2
        with pytest.raises(DecodeCrashed, match="no proper answer"):
            sandbox.call_sync("echo", bytes(2 * MIB))


@pytest.mark.parametrize(
    "arguments", [(Wish("a"),), (1, b""), (Wish("a"), b"", 3), (object(), b"")]
)
def test_wrong_arguments_are_the_callers_mistake(arguments: tuple[Any, ...]) -> None:
    """Arguments that do not fit the function are a TypeError and say nothing about the picture."""
    with open_sandbox("make", list[Made]) as sandbox:
        with pytest.raises(TypeError):
            sandbox.call_sync(*arguments)
        assert sandbox.call_sync(Wish("a", (1,)), b"x") == [Made(Wish("a", (1,)), b"x")]


async def test_children_work_side_by_side() -> None:
    """Two calls at once are served by two children."""
    with open_sandbox(children=2) as sandbox:
        pids: set[int] = set()
        async with patience():
            while len(pids) < 2:  # until the second has started
                calls = sandbox.call("sleep", 0.1), sandbox.call("sleep", 0.1)
                pids |= set(await asyncio.gather(*calls))


async def test_more_calls_than_children() -> None:
    """Calls wait for a child in any number; none is lost or mixed up."""
    with open_sandbox(children=2) as sandbox:
        assert await asyncio.gather(
            *(sandbox.call("echo", number) for number in range(200))
        ) == list(range(200))


async def test_cancelling_a_running_call_frees_its_child() -> None:
    """A caller that is cancelled while its call runs leaves no child busy."""
    with open_sandbox() as sandbox:
        pid = await sandbox.call("pid")
        used = cpu_seconds(pid)
        task = asyncio.create_task(sandbox.call("spin", 600))
        await eventually(lambda: cpu_seconds(pid) > used + 0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await sandbox.call("pid") != pid
        assert not alive(pid)


async def test_cancelling_a_waiting_call_disturbs_no_other() -> None:
    """A caller that is cancelled while its call waits takes no other call with it."""
    with open_sandbox() as sandbox:
        pid = await sandbox.call("pid")
        running = asyncio.create_task(sandbox.call("sleep", 1))
        waiting = asyncio.create_task(sandbox.call("exit", 1))
        await asyncio.sleep(0)  # both calls wait for the child now, in this order
        waiting.cancel()
        assert await running == pid
        assert await sandbox.call("pid") == pid


def test_interrupted_synchronous_call_frees_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that interrupts a waiting thread (time limit, Ctrl-C) ends its call."""
    import signal

    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with open_sandbox() as sandbox:
            pid = sandbox.call_sync("pid")
            used, main = cpu_seconds(pid), threading.get_ident()

            def interrupt_while_it_computes() -> None:
                until(lambda: cpu_seconds(pid) > used + 0.1)
                signal.pthread_kill(main, signal.SIGALRM)

            other = threading.Thread(target=interrupt_while_it_computes)
            other.start()
            with pytest.raises(Interrupted):
                sandbox.call_sync("spin", 600)
            other.join()
            gone(pid)
            assert sandbox.call_sync("echo", 1) == 1
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_idle_child_that_dies_is_replaced() -> None:
    """A child that is killed while idle is replaced, and no call notices."""
    with open_sandbox() as sandbox:
        pid = sandbox.call_sync("pid")
        os.kill(pid, 9)
        gone(pid)
        assert sandbox.call_sync("pid") != pid


@pytest.mark.parametrize("number", [1, 2, 3, 15])
def test_signals_to_the_group_do_not_end_children(number: int) -> None:
    """Hang-up, interrupt, quit and terminate are the parent's to decide about."""
    with open_sandbox() as sandbox:
        pid = sandbox.call_sync("pid")
        os.kill(pid, number)
        assert sandbox.call_sync("pid") == pid


def test_child_retires_after_its_calls() -> None:
    """A child serves a fixed number of calls, then another takes its place."""
    with open_sandbox(calls=3) as sandbox:
        pids = [sandbox.call_sync("pid") for _ in range(7)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_child_retires_when_it_has_grown() -> None:
    """A child that keeps memory is replaced."""
    with open_sandbox(growth=16 * MIB) as sandbox:
        small = sandbox.call_sync("hoard", MIB)
        large = sandbox.call_sync("hoard", 64 * MIB)
        assert small == large
        assert sandbox.call_sync("pid") != large


@pytest.mark.parametrize(
    "settings",
    [
        {"target": "missing"},
        {"warm_up": "sandbox_targets:fail_to_warm_up"},
        {"path": ["/nowhere"]},
    ],
)
def test_child_that_does_not_start(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """When no child can be started, calls are told to try later, and the log says why."""
    with (
        caplog.at_level(logging.ERROR),
        open_sandbox(**settings) as sandbox,
        pytest.raises(Unavailable),
    ):
        sandbox.call_sync("echo", 1)
    assert "Error" in caplog.text


async def test_close_leaves_no_process() -> None:
    """Closing ends all children, fails what runs or waits, and refuses later calls."""
    sandbox = open_sandbox(children=1)
    pid = await sandbox.call("pid")
    calls = [asyncio.create_task(sandbox.call("sleep", 600)) for _ in range(3)]
    await asyncio.sleep(0.1)
    await sandbox.aclose()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert not alive(pid)
    with pytest.raises(Unavailable):
        await sandbox.call("pid")
    sandbox.close()


def test_close_at_once_leaves_nothing() -> None:
    """A sandbox may be closed before its children are ready; no thread and no descriptor stays."""
    before = (threading.active_count(), open_descriptors())
    open_sandbox(children=3).close()
    threads, descriptors = threading.active_count(), open_descriptors()
    assert threads <= before[0]
    assert descriptors <= before[1]  # fewer, when the collector has closed what other tests left


def test_many_children_leave_no_descriptor() -> None:
    """Replacing children does not leak descriptors."""
    with open_sandbox(calls=1) as sandbox:
        sandbox.call_sync("echo", 1)
        before = open_descriptors()
        for _ in range(5):
            sandbox.call_sync("echo", 1)
        until(lambda: open_descriptors() <= before + 3)


def test_failures_are_kinds() -> None:
    """All failures are known errors with a slug of their own, so that every edge can tell them."""
    kinds = [DecodeFailed, DecodeTimeout, DecodeMemory, DecodeCrashed]
    assert all(issubclass(kind, AtelierError) and issubclass(kind, DecodeFailed) for kind in kinds)
    assert len({kind.slug for kind in kinds}) == 4
