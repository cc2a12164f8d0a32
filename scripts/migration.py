"""Writes the migration that the models ask for, or checks that none is needed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.util import CommandError

from atelier.commands.migrate import config, migrate
from atelier.up.engines import start_postgres


@contextmanager
def migrated() -> Iterator[str]:
    """The URL of a fresh database with every migration applied."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # when root runs this, PostgreSQL is another user
        engine = start_postgres(Path(folder) / "postgres", durable=False)
        try:
            migrate(engine.url)
            yield engine.url
        finally:
            engine.halt()


def main(words: list[str]) -> int:
    """With a message write the next step.

    Without one exit with 1 when models and migrations differ.
    """
    with migrated() as url:
        if words and words[0]:
            steps = len(
                list(
                    (Path(__file__).parents[1] / "src/atelier/migrations/versions").glob(
                        "[0-9]*.py"
                    )
                )
            )
            command.revision(config(url), words[0], autogenerate=True, rev_id=f"{steps + 1:04}")
            return 0
        try:
            command.check(config(url))
        except CommandError as difference:
            sys.stderr.write(f"models and migrations differ: {difference}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
