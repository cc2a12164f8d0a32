"""The retry decorator and the pauses of an outage."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import TYPE_CHECKING

import pytest

from atelier.retry import Backoff, Outage, pause, retry

if TYPE_CHECKING:
    from collections.abc import Callable


class Flaky:
    """Fails `failures` times with `error`, then answers."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.failures = failures
        self.error = error or ConnectionError("away")
        self.calls: list[tuple[object, ...]] = []

    def __call__(self, *args: object) -> str:
        """Fail or answer."""
        self.calls.append(args)
        if len(self.calls) <= self.failures:
            raise self.error
        return "answer"


def call(kind: str, flaky: Flaky, decorator: Callable[..., object]) -> Callable[..., str]:
    """A plain function around `flaky`, or a coroutine function that is run to its end."""
    if kind == "sync":

        @decorator
        def function(*args: object) -> str:
            return flaky(*args)

        return function

    @decorator
    async def coroutine_function(*args: object) -> str:
        await asyncio.sleep(0)
        return flaky(*args)

    return lambda *args: asyncio.run(coroutine_function(*args))


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
@pytest.mark.parametrize(("times", "failures"), [(1, 0), (2, 1), (3, 0), (3, 2), (10, 9)])
def test_it_calls_until_it_succeeds(kind: str, times: int, failures: int) -> None:
    """The function is called once more than it failed, and its answer is returned."""
    flaky = Flaky(failures)
    assert call(kind, flaky, retry(times, 0))("a", 2) == "answer"
    assert flaky.calls == [("a", 2)] * (failures + 1)


@both
@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_last_error_is_raised(kind: str, times: int) -> None:
    """After `times` calls in all the error passes."""
    flaky = Flaky(99)
    with pytest.raises(ConnectionError, match="away"):
        call(kind, flaky, retry(times=times, delay=0))()
    assert len(flaky.calls) == times


@both
@pytest.mark.parametrize(
    ("exceptions", "error", "calls"),
    [
        (ConnectionError, ConnectionRefusedError(), 3),
        (ConnectionError, ValueError(), 1),
        ((ConnectionError, ValueError), ValueError(), 3),
        ((), ValueError(), 1),
        (Exception, KeyboardInterrupt(), 1),
    ],
)
def test_only_the_named_errors_are_tried_again(
    kind: str,
    exceptions: type[Exception] | tuple[type[Exception], ...],
    error: BaseException,
    calls: int,
) -> None:
    """An error that is none of `exceptions`, a class or a tuple, passes at the first call."""
    flaky = Flaky(99, error)
    with pytest.raises(type(error)):
        call(kind, flaky, retry(3, 0, exceptions))()
    assert len(flaky.calls) == calls


def test_defaults_are_three_calls_a_second_apart() -> None:
    """The defaults are those of the contract."""
    parameters = inspect.signature(retry).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "times": 3,
        "delay": 1,
        "exceptions": Exception,
    }


@both
def test_it_sleeps_between_calls_only(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failures cost two delays; neither the first call nor the end waits."""
    flaky = Flaky(2)
    slept: list[tuple[int, float]] = []

    def sleep(seconds: float) -> None:
        slept.append((len(flaky.calls), seconds))

    async def sleep_in_a_loop(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", sleep_in_a_loop)
    call(kind, flaky, retry(3, 7))()
    assert [each for each in slept if each[1]] == [(1, 7), (2, 7)]  # the function sleeps for 0


async def test_waiting_does_not_block_the_loop() -> None:
    """While one coroutine function waits for its next try, others run."""
    flaky, failed = Flaky(1), asyncio.Event()
    happened: list[str] = []

    async def other() -> None:
        await failed.wait()
        happened.append("other")

    @retry(2, 0.05)
    async def function() -> str:
        failed.set()
        happened.append("call")
        return flaky()

    answer, _ = await asyncio.gather(function(), other())
    assert answer == "answer"
    assert happened == ["call", "other", "call"]


async def test_cancellation_passes() -> None:
    """A cancelled call is not tried again, even when every exception is named."""
    calls = []

    @retry(3, 0, BaseException)  # type: ignore[arg-type]
    async def function() -> None:
        calls.append(1)
        await asyncio.Event().wait()

    task = asyncio.create_task(function())
    while not calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == [1]


@pytest.mark.parametrize("arguments", [{"times": 0}, {"times": -1}, {"delay": -0.1}])
def test_senseless_numbers_are_refused(arguments: dict[str, float]) -> None:
    """Fewer than one call and a negative delay are errors where the function is decorated."""
    with pytest.raises(ValueError, match="must"):
        retry(**arguments)  # type: ignore[arg-type]


def test_the_function_stays_what_it_was() -> None:
    """Name, docstring, signature and being a coroutine function survive; so do methods."""

    @retry()
    def plain(a: int, *, b: str = "") -> str:
        """What it does."""
        return f"{a}{b}"

    class Thing:
        @retry()
        async def method(self, a: int) -> int:
            return a

    assert (plain.__name__, plain.__doc__) == ("plain", "What it does.")
    assert str(inspect.signature(plain)) == "(a: 'int', *, b: 'str' = '') -> 'str'"
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.iscoroutinefunction(Thing.method)
    assert asyncio.run(Thing().method(7)) == 7


@pytest.mark.parametrize(("attempt", "whole"), [(1, 0.5), (2, 1), (3, 2), (6, 10), (10_000, 10)])
def test_pauses_double_up_to_the_longest(attempt: int, whole: float) -> None:
    """The pause after the n-th failure is between half of its whole length and all of it."""
    pauses = [pause(attempt, 0.5, 10) for _ in range(200)]
    assert min(pauses) >= whole / 2
    assert max(pauses) <= whole
    assert len(set(pauses)) > 1


def test_a_back_off_begins_again_after_a_reset() -> None:
    """Each pause belongs to one more failure, and the first after a reset is a first one."""
    backoff = Backoff(0.5, 10)
    pauses = [backoff.next() for _ in range(20)]
    assert 0.25 <= pauses[0] <= 0.5
    assert 5 <= pauses[-1] <= 10
    assert backoff.failures == 20
    backoff.reset()
    assert 0.25 <= backoff.next() <= 0.5


async def test_an_outage_is_two_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Many failed tries make one line, the recovery another, and a server that is well none."""
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("test"), "the server")
    outage.over()
    for _ in range(3):
        await outage.failed(ConnectionError("refused"))
    outage.over()
    outage.over()
    assert [record.getMessage() for record in caplog.records] == [
        "the server is unavailable, trying again: ConnectionError: refused",
        "the server is back",
    ]
