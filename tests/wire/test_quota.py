"""Connections that a client may hold open."""

from __future__ import annotations

import pytest

from atelier.wire.quota import Quota, Refused


def test_each_client_has_its_own() -> None:
    """What one holds is not missing for another; what has ended is free again."""
    quota = Quota(2, 99)
    assert [quota.take("2001:db8::1"), quota.take("2001:db8::2")] == [None, None]
    assert quota.take("2001:db8::3") is Refused.CLIENT_FULL
    assert quota.take("2001:db8:0:1::1") is None
    quota.give_back("2001:db8::1")
    assert quota.take("2001:db8::3") is None


def test_all_clients_together_leave_something() -> None:
    """The total holds for everybody."""
    quota = Quota(2, 4)
    assert {quota.take(f"192.0.2.{number}") for number in range(4)} == {None}
    assert quota.take("192.0.2.9") is Refused.FULL


def test_one_client_cannot_have_the_total() -> None:
    """A limit that is higher than half of it counts for half."""
    quota = Quota(512, 4)
    assert [quota.take("192.0.2.1") for _ in range(3)] == [None, None, Refused.CLIENT_FULL]


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"])
def test_a_trusted_proxy_stands_for_many(address: str) -> None:
    """It may hold any number, up to the total."""
    quota = Quota(1, 4, ("10.0.0.0/8", "2001:db8::1"))
    taken = [quota.take(address) for _ in range(5)]
    assert taken == [None, None, None, None, Refused.FULL]


def test_refusals_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """A flood writes one line, which names the client."""
    quota = Quota(1, 99)
    for _ in range(100):
        quota.take("192.0.2.1")
    assert [record.args for record in caplog.records] == [("192.0.2.1", 1, 1)]
