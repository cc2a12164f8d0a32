"""The way back to the release before: it meets a schema with steps that it does not know."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import atelier
from atelier.commands.migrate import schema
from atelier.up.engines import running
from tests.system.clients import upload
from tests.system.instance import settled
from tests.waiting import finished

if TYPE_CHECKING:
    from tests.system.instance import Instance

STEP = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9999", "{before}", None, None
def upgrade():
    op.add_column("books", sa.Column("shelfmark", sa.Text()))
"""
FILES_STEP = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("files", "{before}")]
    operations = [migrations.AddField("file", "shelfmark", models.TextField(null=True))]
"""


def next_release(folder: Path) -> Path:
    """A copy of this version with one more step of each tool; what PYTHONPATH has to name."""
    package = folder / "atelier"
    shutil.copytree(Path(atelier.__file__).parent, package)
    for steps, name, text in (
        (package / "migrations" / "versions", "9999_shelfmark", STEP),
        (package / "files" / "migrations", "9999_shelfmark", FILES_STEP),
    ):
        before = max(step.stem for step in steps.glob("[0-9]*.py"))
        before = before[:4] if "versions" in steps.parts else before
        (steps / f"{name}.py").write_text(text.format(before=before))
    return folder


def test_the_release_before_starts_on_the_schema_of_the_next(
    instance: Instance, tmp_path: Path
) -> None:
    """It finds nothing to migrate, says so, comes up and serves what is there and what is new."""
    user = instance.user()
    kept = upload(user, 1)
    url = running.noted(instance.data, "database_url")
    assert url
    done = finished(
        [sys.executable, "-m", "atelier", "migrate", "--data", str(instance.data)],
        env=instance.environment | {"PYTHONPATH": str(next_release(tmp_path))},
        cwd=instance.folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert schema(url).alembic == "9999"
    assert "9999_shelfmark" in schema(url).django

    instance.stop()
    instance.start()
    again = instance.user()
    assert settled(again, kept)["status"] == "ready"
    assert settled(again, upload(again, 2))["status"] == "ready"
    said = instance.command("migrate")
    assert said.returncode == 0
    assert "nothing to do, it is at 9999, files at 9999: newer than this version" in said.stdout
    refused = instance.command("backup", str(tmp_path / "backup"))
    assert refused.returncode
    assert "a newer version: back it up with that version" in refused.stderr
