"""Names by which a server may be called: its own, and on loopback those of the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.wire.hosts import REMEMBERED, Hosts, is_loopback

HERE = [
    b"localhost",
    b"localhost:8000",
    b"LOCALHOST.",
    b"127.0.0.1",
    b"127.1.2.3:80",
    b"[::1]:8000",
]
ELSEWHERE = [
    b"evil.example", b"evil.example:8000", b"localhost.evil.example", b"127.0.0.1.evil.example",
    b"192.168.0.7", b"[2001:db8::1]", b"", b"localhost@evil.example", b"[::1", b"127.1", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_names_of_the_machine_alone(listening: str) -> None:
    """Whatever its port, a name of this machine is taken, and no other is."""
    hosts = Hosts((), listening)
    assert [host for host in HERE if not hosts.accepts(host)] == []
    assert [host for host in ELSEWHERE if hosts.accepts(host)] in ([], [b"[::1"])


@pytest.mark.parametrize("listening", ["0.0.0.0", "::", "192.168.0.7"])
def test_elsewhere_any_name(listening: str) -> None:
    """Where others may reach it, and nothing is set, every name is taken."""
    assert all(Hosts((), listening).accepts(host) for host in HERE + ELSEWHERE)


def test_only_names_that_are_set() -> None:
    """Names and those below `*.` one are taken, in any case and with any port."""
    hosts = Hosts(
        ("Atelier.example.org", "*.pictures.example", "192.0.2.7", "[2001:db8::1]"), "::"
    )
    taken = [
        b"atelier.example.org", b"ATELIER.example.org:443", b"a.b.pictures.example",
        b"192.0.2.7:80", b"[2001:db8::1]:443",
    ]  # fmt: skip
    refused = [b"pictures.example", b"evilpictures.example", b"localhost", b"example.org", b"*"]
    assert all(map(hosts.accepts, taken))
    assert not any(map(hosts.accepts, refused))
    assert Hosts(("*",), "127.0.0.1").accepts(b"evil.example")


def test_probes_may_come_by_address() -> None:
    """Health checks ask an address, or from this machine; never a name that is not ours."""
    for hosts in (Hosts((), "127.0.0.1"), Hosts(("atelier.example.org",), "::")):
        assert all(map(hosts.accepts_probe, [b"10.1.2.3:8000", b"[fd00::1]:8000", b"localhost"]))
        assert not hosts.accepts_probe(b"evil.example")


@given(st.lists(st.binary(max_size=12), max_size=20))
def test_any_bytes_are_judged(headers: list[bytes]) -> None:
    """No header is an error, and what is remembered is bounded and only what was accepted."""
    hosts = Hosts((), "127.0.0.1")
    for number in range(REMEMBERED * 2):
        hosts.accepts(b"localhost:%d" % number)
    for header in headers:
        assert hosts.accepts(header) == hosts.accepts(header)
    assert len(hosts._accepted) <= REMEMBERED


def test_loopback() -> None:
    """Names that only look like loopback ones are not."""
    assert is_loopback("127.255.255.254")
    assert not any(map(is_loopback, ["0.0.0.0", "::", "localhost.example", "128.0.0.1"]))
