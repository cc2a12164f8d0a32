"""What the accounts write to the audit log, and the counter of reused refresh tokens."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from atelier.observe.metrics import REFRESH_REUSE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Accounts, Person


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """The events since it was last asked, with the fields of their lines."""
    caplog.set_level(logging.INFO, "atelier.audit")

    def take() -> list[tuple[str, dict[str, Any]]]:
        found = [vars(r) for r in caplog.records if r.name == "atelier.audit"]
        caplog.clear()
        return [(fields["event"], fields) for fields in found]

    take()
    return take


def reused() -> float:
    """How often a refresh token was reused in this process."""
    return REFRESH_REUSE._value.get()


async def test_coming_and_going_are_in_the_audit_log(accounts: Accounts, events: Any) -> None:
    """Registration, sign-in, sign-out and the end of an account, with user, session and client."""
    person = await accounts.person()
    await person.logout()
    person = await accounts.enter(person.email)
    await person.delete()
    found = events()
    assert [event for event, _ in found] == [
        "registered",
        "signed-in",
        "signed-out",
        "signed-in",
        "account-deleted",
    ]
    assert {fields["user"] for _, fields in found} == {str(person.id)}
    assert {fields["client"] for _, fields in found} == {"127.0.0.1"}
    sessions = [fields["session"] for _, fields in found]
    assert sessions[0] == "-"
    assert sessions[1] == sessions[2] != sessions[3] == sessions[4]


async def test_failed_sign_ins_are_in_the_audit_log(
    accounts: Accounts, anna: Person, events: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By the user's id and a digest of the address: neither it nor the password is written."""
    unknown = accounts.new_address()
    caplog.clear()
    await accounts.sign_in(anna.email, "wrong horse")
    await accounts.sign_in(anna.email.upper(), "wrong horse")
    await accounts.sign_in(unknown, "wrong horse")
    text = caplog.text
    found = events()
    assert [event for event, _ in found] == ["sign-in-failed"] * 3
    assert [fields["user"] for _, fields in found] == [str(anna.id), str(anna.id), "-"]
    digests = [fields["address"] for _, fields in found]
    assert digests[0] == digests[1] != digests[2]
    for secret in ("wrong horse", anna.email, anna.email.upper(), unknown):
        assert secret not in text


async def test_throttled_sign_ins_are_in_the_audit_log(
    accounts: Accounts, anna: Person, events: Any
) -> None:
    """Under the digest of those that failed before it."""
    while (await accounts.sign_in(anna.email, "wrong horse")).status_code != 429:
        pass
    *failed, (last, fields) = events()
    assert {event for event, _ in failed} == {"sign-in-failed"}
    assert last == "sign-in-throttled"
    assert fields["address"] == failed[0][1]["address"]
    assert fields["levelname"] == "WARNING"


async def test_reuse_of_a_refresh_token_is_counted_and_in_the_audit_log(
    anna: Person, events: Any, grace_over: Callable[[], Awaitable[object]]
) -> None:
    """Once for each session that it ends, and not in the seconds of grace."""
    before, stolen = reused(), anna.pair["refresh_token"]
    await anna.refresh()
    await anna.refresh(stolen)
    assert events() == []
    await grace_over()
    await anna.refresh(stolen)
    await anna.refresh(stolen)
    [(event, fields)] = events()
    assert event == "refresh-reused"
    assert fields["user"] == str(anna.id)
    assert fields["session"].replace("-", "") == stolen.partition(".")[0]
    assert reused() == before + 1


async def test_a_refresh_token_that_has_expired_is_not_reuse(
    anna: Person, resources: Any, events: Any
) -> None:
    """It is refused, and nobody is alarmed."""
    before = reused()
    await resources.database.fetch(
        "UPDATE refresh_families SET expires_at = now() WHERE user_id = $1", anna.id
    )
    assert (await anna.refresh()).status_code == 401
    assert events() == []
    assert reused() == before
