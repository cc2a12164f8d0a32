"""Every migration lets the release before go on working, and holds no lock for long."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event

from atelier.commands.migrate import config, is_current, migrate, reach
from atelier.files.migrate import migrate as migrate_files
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

# Steps that take away what no release has used since the one named; each with its sentence.
CONTRACTIONS: dict[str, str] = {}
# What keeps a table's readers or writers out for as long as it reads the whole table.
SLOW = re.compile(
    r"""CREATE\ (UNIQUE\ )?INDEX\ (?!CONCURRENTLY)\S+\ ON\ (?P<index>\w+)
      | ALTER\ TABLE\ (?P<table>\w+)\ .*
        (SET\ NOT\ NULL|\ TYPE\ |ADD\ CONSTRAINT(?!.*NOT\ VALID)|ADD\ PRIMARY)
      | (?P<never>VACUUM\ FULL|CLUSTER\ |LOCK\ TABLE|REINDEX\ (?!.*CONCURRENTLY))""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
DJANGO = Path(__file__).parents[2] / "src" / "atelier" / "files" / "migrations"
REVISIONS = [
    step.revision for step in ScriptDirectory.from_config(config("postgresql://")).walk_revisions()
][::-1]
COLUMNS = """
    SELECT table_name || '.' || column_name, data_type, is_nullable = 'YES',
           column_default IS NOT NULL OR is_identity = 'YES' OR is_generated = 'ALWAYS'
    FROM information_schema.columns WHERE table_schema = 'public'
"""


class Column(NamedTuple):
    """Properties of a column that a program relies on."""

    type: str
    nullable: bool
    filled: bool


def columns(url: str) -> dict[str, Column]:
    """Every column by `table.name`."""
    with psycopg.connect(url) as connection:
        return {name: Column(*rest) for name, *rest in connection.execute(COLUMNS).fetchall()}


def breaks(before: dict[str, Column], after: dict[str, Column]) -> list[str]:
    """Reasons for which a release that knows only `before` fails on `after`."""
    old = {name.partition(".")[0] for name in before}
    found = [f"{name} is gone or renamed" for name in before if name not in after]
    for name, column in after.items():
        was = before.get(name)
        if (
            was is None
            and name.partition(".")[0] in old
            and not (column.nullable or column.filled)
        ):
            found.append(f"{name} is new and must be filled: give it a server default")
        if was is not None and was.type != column.type:
            found.append(f"{name} was {was.type} and is {column.type}")
        if was is not None and was.nullable and not column.nullable:
            found.append(f"{name} may not be empty any more")
    return found


@contextmanager
def statements() -> Iterator[list[str]]:
    """Statements executed inside."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def slow(statement: str, tables: set[str]) -> bool:
    """True if it makes the users of one of these tables wait."""
    found = SLOW.search(statement)
    return bool(found and (found["never"] or {found["index"], found["table"]} & tables))


def test_each_step_expands(empty_database_url: str) -> None:
    """No migration removes, renames or narrows what the last release uses, nor locks for long."""
    before: dict[str, Column] = {}
    for revision in REVISIONS:
        tables = {name.partition(".")[0] for name in before}
        with statements() as executed:
            command.upgrade(config(empty_database_url), revision)
        after = columns(empty_database_url)
        assert revision in CONTRACTIONS or breaks(before, after) == [], revision
        assert [statement for statement in executed if slow(statement, tables)] == [], revision
        before = after
    assert executed
    for step in sorted(path.stem for path in DJANGO.glob("[0-9]*.py")):
        migrate_files(empty_database_url, step)
        after = columns(empty_database_url)
        assert step in CONTRACTIONS or breaks(before, after) == [], step
        before = after


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("ALTER TABLE books DROP COLUMN author", "books.author is gone"),
        ("ALTER TABLE books RENAME COLUMN title TO name", "books.title is gone"),
        ("ALTER TABLE books ADD COLUMN shelf text NOT NULL", "books.shelf is new"),
        ("ALTER TABLE images ALTER COLUMN error SET NOT NULL", "images.error may not be empty"),
        ("ALTER TABLE books ALTER COLUMN title TYPE varchar(9)", "books.title was text"),
    ],
)
def test_what_breaks_is_found(fresh_database_url: str, change: str, complaint: str) -> None:
    """The comparison sees every kind of step that the release before cannot live with."""
    before = columns(fresh_database_url)
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute(change)
    assert any(
        found.startswith(complaint) for found in breaks(before, columns(fresh_database_url))
    )


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE INDEX ix ON books (title)", True),
        ("CREATE UNIQUE INDEX ix ON books (title)", True),
        ("CREATE INDEX CONCURRENTLY ix ON books (title)", False),
        ("CREATE INDEX ix ON new_table (title)", False),
        ("ALTER TABLE books ADD CONSTRAINT c CHECK (id > 0)", True),
        ("ALTER TABLE books ADD CONSTRAINT c CHECK (id > 0) NOT VALID", False),
        ("ALTER TABLE books ALTER COLUMN title SET NOT NULL", True),
        ("ALTER TABLE books ADD COLUMN shelf text", False),
        ("LOCK TABLE books", True),
    ],
)
def test_what_is_slow_is_found(statement: str, expected: bool) -> None:
    """A statement that reads a whole table under a lock is told from one that does not."""
    assert slow(statement, {"books"}) is expected


def test_a_step_does_not_wait_long(fresh_database_url: str) -> None:
    """While a step cannot have its lock, requests go on between its tries.

    Once it can, it is done.
    """
    command.downgrade(config(fresh_database_url), "0002")
    migrator = threading.Thread(target=migrate, args=(fresh_database_url,))
    with (
        psycopg.connect(fresh_database_url) as holder,
        psycopg.connect(fresh_database_url, autocommit=True) as other,
    ):
        holder.execute(
            "LOCK TABLE users IN ROW EXCLUSIVE MODE"
        )  # a transaction that wrote and was left open
        migrator.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'relation' AND "
            "datname = current_database()"
        )
        until(lambda: other.execute(waiting).fetchone() != (0,) or not migrator.is_alive())
        other.execute(
            "UPDATE users SET sequence = 1 WHERE id = 0"
        )  # returns when the step gives way
        assert migrator.is_alive()
        assert not is_current(fresh_database_url)
    migrator.join()
    assert is_current(fresh_database_url)


def test_a_migrator_waits_for_his_turn(empty_database_url: str) -> None:
    """Started from several machines at once, one migrates at a time."""
    migrator = threading.Thread(target=migrate, args=(empty_database_url,))
    with psycopg.connect(empty_database_url, autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(7241001)")
        migrator.start()
        asked = (
            "SELECT 1 FROM pg_stat_activity WHERE query = 'ROLLBACK' AND datname = "
            "current_database()"
        )
        until(lambda: first.execute(asked).fetchone() or not migrator.is_alive())  # he asks again
        assert migrator.is_alive()
        assert not columns(empty_database_url)
    migrator.join()
    assert is_current(empty_database_url)


@pytest.mark.parametrize("first", ["files", "usage"])
def test_files_are_counted_in_whichever_order_their_table_came(
    empty_database_url: str, first: str
) -> None:
    """Its triggers are made by the migration that comes second, Alembic's or Django's."""
    reach(empty_database_url, *(("0006", "0001_initial") if first == "files" else ()))
    reach(empty_database_url)
    triggers = (
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'files'::regclass AND NOT tgisinternal"
    )
    with psycopg.connect(empty_database_url) as connection:
        assert sorted(connection.execute(triggers).fetchall()) == [
            ("count_gone",),
            ("count_made",),
            ("count_moved",),
        ]


def test_every_step_can_be_reached_and_left(empty_database_url: str) -> None:
    """Up to each migration, down to nothing and up again: a downgrade can be repeated."""
    for revision in REVISIONS:
        command.upgrade(config(empty_database_url), revision)
    command.downgrade(config(empty_database_url), "base")
    reach(empty_database_url)
    assert is_current(empty_database_url)
