"""The audit log: where its lines go, what each says, and what a value cannot do to it."""

from __future__ import annotations

import contextvars
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.observe import audit, requester
from atelier.observe.audit import AuditEvent
from atelier.observe.logs import request_id
from tests.logged import logging_to
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.logged import Written

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "audit.md"


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Callable[..., Written]]:
    """Set logging up for this test and put back what was there."""
    with logging_to(tmp_path) as make:
        yield make


def in_a_request(write: Callable[[], None]) -> None:
    """Write within a request of a known client, user and session."""

    def request() -> None:
        request_id.set("order-7")
        requester.begin("192.0.2.7")
        requester.identify(7, "family")
        write()

    contextvars.copy_context().run(request)


def test_an_event_is_a_line_of_the_role_and_of_the_audit_log(
    setup: Callable[..., Written], tmp_path: Path
) -> None:
    """The same line, whatever `log_level` is; other lines stay out of the audit log."""
    written = setup(log_level="ERROR")
    path = tmp_path / "logs" / "audit.log"
    assert not path.exists()
    in_a_request(lambda: audit.record(AuditEvent.SIGNED_OUT))
    assert written.console == written.file == path.read_text()
    assert path.read_text().endswith(
        " INFO atelier.audit [order-7] signed-out user=7 session=family client=192.0.2.7\n"
    )
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_command_writes_to_the_audit_log_alone(tmp_path: Path) -> None:
    """Its own words are all that an operator sees."""
    program = (
        "import pathlib, sys\n"
        "from atelier.observe import audit, logs\n"
        "from atelier.settings import Settings\n"
        "logs.setup_audit('users', Settings(data=pathlib.Path(sys.argv[1])))\n"
        "audit.record('account-disabled', user=7, by='operator')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_SECONDS)
    assert done.stdout == done.stderr == b""
    [path] = (tmp_path / "logs").iterdir()
    assert path.name == "audit.log"
    assert path.read_text().endswith(
        " account-disabled user=7 session=- client=- by=operator\n",
    )


def test_what_is_given_goes_before_what_the_request_says(setup: Callable[..., Written]) -> None:
    """And facts follow, without those that are None."""
    written = setup()
    in_a_request(lambda: audit.record("key-made", user=8, session="s", key=3, name=None))
    assert written.file.endswith(
        " key-made user=8 session=s client=192.0.2.7 key=3\n",
    )


def test_outside_of_requests_nobody_is_named(setup: Callable[..., Written]) -> None:
    """A command has no client, user or session but what it gives."""
    written = setup()
    audit.record(AuditEvent.ACCOUNT_DISABLED, user=8, by="operator")
    assert written.file.endswith(
        " [-] account-disabled user=8 session=- client=- by=operator\n",
    )


def test_json_has_a_field_for_each(setup: Callable[..., Written]) -> None:
    """Event, user, session, client, request and facts."""
    written = setup(log_format="json")
    in_a_request(lambda: audit.record(AuditEvent.ROLE_CHANGED, user=9, role="viewer"))
    line = json.loads(written.file)
    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "role": "api",
        "logger": "atelier.audit",
        "request_id": "order-7",
        "message": "role-changed user=9 session=family client=192.0.2.7 role=viewer",
        "event": "role-changed",
        "user": "9",
        "session": "family",
        "client": "192.0.2.7",
        "fact_role": "viewer",
    }


@pytest.mark.parametrize("value", ["a user=1", 'a" user=1', "a\nb", "", "ключ", "a=b"])
def test_a_value_cannot_be_taken_for_two(setup: Callable[..., Written], value: str) -> None:
    """It stands in quotes, on the same line."""
    written = setup()
    audit.record(AuditEvent.KEY_MADE, user=7, name=value)
    [line] = written.file.splitlines()
    assert json.loads(line.partition("name=")[2]) == value


def test_an_unknown_event_is_refused() -> None:
    """Every event has a row in the documentation, so that an auditor knows what to look for."""
    with pytest.raises(ValueError, match="made-up"):
        audit.record("made-up")
    page = PAGE.read_text(encoding="utf-8")
    assert [event for event in AuditEvent if f"| `{event}` |" not in page] == []
