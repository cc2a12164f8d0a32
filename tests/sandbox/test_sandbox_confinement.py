"""Limits of a child once it is warmed up."""

from __future__ import annotations

import os
import resource
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sandbox_tools import open_sandbox

from atelier.sandbox import seccomp
from atelier.sandbox.sandbox import DecodeFailed, Sandbox, seccomp_available

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_seccomp = pytest.mark.skipif(
    not seccomp_available(), reason="no seccomp filter for this machine or kernel"
)

EPERM, ENOSYS, ALLOW, KILL = "EPERM", "ENOSYS", "allow", "kill"
THREAD_FLAGS, FORK_FLAGS = 0x3D0F00, 0x1200011
PID = 4711


@pytest.fixture(scope="module")
def attempts() -> Iterator[Sandbox[Any]]:
    """A sandbox whose function names the error that it meets."""
    with open_sandbox("attempt", str) as sandbox:
        yield sandbox


@needs_seccomp
@pytest.mark.parametrize(
    ("action", "argument"),
    [
        ("socket", None),
        ("socketpair", None),
        ("exec", None),
        ("fork", None),
        ("memfd", None),
        ("executable", None),
        ("read", "/etc/passwd"),
        ("read", "/proc/self/environ"),
        ("list", "/"),
        ("stat", "/"),
        ("unlink", "/nowhere"),
    ],
)
def test_the_world_is_out_of_reach(
    attempts: Sandbox[Any], action: str, argument: str | None
) -> None:
    """After the warm-up a child cannot reach the network, nor start, read or remove anything."""
    assert attempts.call_sync(action, argument) == "PermissionError"


def test_open_files_stay_few() -> None:
    """Whatever its parent may open: 1,024 is what select() can do."""
    with open_sandbox("act", int) as sandbox:
        pid = sandbox.call_sync("pid", None)
        assert max(resource.prlimit(pid, resource.RLIMIT_NOFILE)) <= 1024


@needs_seccomp
def test_writing_a_file_fails(attempts: Sandbox[Any], tmp_path: Path) -> None:
    """A child creates no file."""
    assert attempts.call_sync("write", str(tmp_path / "x")) == "PermissionError"
    assert not list(tmp_path.iterdir())


@needs_seccomp
def test_other_processes_are_out_of_reach(attempts: Sandbox[Any]) -> None:
    """A child can neither signal its parent nor read its environment."""
    assert attempts.call_sync("kill", os.getpid()) == "PermissionError"
    assert attempts.call_sync("read", f"/proc/{os.getpid()}/environ") == "PermissionError"


@needs_seccomp
def test_a_late_import_fails_that_call(attempts: Sandbox[Any]) -> None:
    """A module not imported in the warm-up cannot be imported later; the child survives it."""
    assert attempts.call_sync("import", "wave") == "ModuleNotFoundError"
    assert attempts.call_sync("import", "os") == ""


def test_limits_cannot_be_raised(attempts: Sandbox[Any]) -> None:
    """A child cannot give itself more memory."""
    assert attempts.call_sync("raise limit") in {"ValueError", "PermissionError"}


def test_threads_are_allowed(attempts: Sandbox[Any]) -> None:
    """Decoders may use threads."""
    assert attempts.call_sync("thread") == ""


def test_no_secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child sees no variable of ours, least of all the settings."""
    monkeypatch.setenv("ATELIER_AUTH_SECRET", "swordfish")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:swordfish@db/atelier")
    with open_sandbox() as sandbox:
        environment = sandbox.call_sync("environment")
    assert not [name for name in environment if name.startswith("ATELIER_")]
    assert "swordfish" not in str(environment)
    assert environment["VIPS_CONCURRENCY"] == "1"


def test_only_own_descriptors_are_open() -> None:
    """A child inherits none of its parent's files, even inheritable ones."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        with open_sandbox() as sandbox:
            pid = sandbox.call_sync("pid")
            links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    finally:
        os.close(reading)
        os.close(writing)
    assert sorted(link.partition(":")[0] for link in links) == [
        "/dev/null",
        "/dev/null",
        "pipe",
        "socket",
    ]


@needs_seccomp
def test_the_kernel_agrees() -> None:
    """Each thread of a child has a filter, no new privileges, no core dumps and no files."""
    with open_sandbox() as sandbox:
        pid = sandbox.call_sync("pid")
        statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
        limits = Path(f"/proc/{pid}/limits").read_text()
    assert statuses
    assert all("NoNewPrivs:\t1\nSeccomp:\t2\n" in status for status in statuses)
    for name in ("Max core file size", "Max file size"):
        row = next(line for line in limits.splitlines() if line.startswith(name))
        assert row.removeprefix(name).split()[:2] == ["0", "0"]


def test_failing_in_the_dark_is_reported_without_paths() -> None:
    """The reason that a caller sees names no file."""
    with open_sandbox() as sandbox, pytest.raises(DecodeFailed) as caught:
        sandbox.call_sync("read", "/etc/secret")
    assert "/" not in str(caught.value)


@pytest.mark.parametrize("machine", seccomp.MACHINES.values(), ids=seccomp.MACHINES.keys())
class TestFilter:
    """The filter of each machine, run by a small interpreter: this test sees both on either."""

    def test_refuses_by_default(self, machine: seccomp.Machine) -> None:
        """Unlisted system calls are refused: old ones with EPERM, new ones with ENOSYS."""
        checked = {*machine.executable, machine.clone, machine.tgkill}
        for number in range(512):
            expected = ENOSYS if number >= 424 else ALLOW if number in machine.allowed else EPERM
            if number not in checked:
                assert verdict(machine, number) == expected, number

    def test_kills_another_architecture(self, machine: seccomp.Machine) -> None:
        """Calls by another architecture's numbers (32 bit, say) end the process."""
        assert verdict(machine, 1, audit=0x40000003) == KILL

    def test_refuses_the_x32_variants(self, machine: seccomp.Machine) -> None:
        """x86_64's other numbering, with bit 30 set, is no way round."""
        assert verdict(machine, 0x40000000 | machine.allowed[0]) == ENOSYS

    def test_threads_but_no_processes(self, machine: seccomp.Machine) -> None:
        """A clone makes threads only."""
        assert verdict(machine, machine.clone, THREAD_FLAGS) == ALLOW
        assert verdict(machine, machine.clone, FORK_FLAGS) == EPERM

    def test_memory_but_no_code(self, machine: seccomp.Machine) -> None:
        """Calls for memory give memory that cannot be executed."""
        for number in machine.executable:
            assert verdict(machine, number, 0, 0, 3) == ALLOW
            assert verdict(machine, number, 0, 0, 7) == EPERM

    def test_signals_to_itself_only(self, machine: seccomp.Machine) -> None:
        """A process may abort, but signals no other process."""
        assert verdict(machine, machine.tgkill, PID) == ALLOW
        assert verdict(machine, machine.tgkill, 1) == EPERM


def verdict(
    machine: seccomp.Machine, number: int, *arguments: int, audit: int | None = None
) -> str:
    """Run the filter over one system call, as the kernel would."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, machine.audit if audit is None else audit, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", seccomp.assemble(machine, PID)))
    accumulator, place = 0, 0
    while True:
        operation, jump_true, jump_false, k = code[place]
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif operation == 0x06:
            return {0x80000000: KILL, 0x7FFF0000: ALLOW, 0x50001: EPERM, 0x50026: ENOSYS}[k]
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[
                operation
            ]
            place += jump_true if holds else jump_false
