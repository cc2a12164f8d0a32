"""Whose a file is becomes a space; Alembic's migrations have made the table of spaces."""

from __future__ import annotations

from django.db import migrations, models

REFER = """
    ALTER TABLE files DROP CONSTRAINT fk_files_owner_id_users;
    ALTER TABLE files ADD CONSTRAINT fk_files_owner_id_spaces FOREIGN KEY (owner_id)
        REFERENCES spaces (id) NOT VALID;
    ALTER TABLE files VALIDATE CONSTRAINT fk_files_owner_id_spaces;
"""
BACK = """
    ALTER TABLE files DROP CONSTRAINT fk_files_owner_id_spaces;
    ALTER TABLE files ADD CONSTRAINT fk_files_owner_id_users FOREIGN KEY (owner_id)
        REFERENCES users (id);
"""

# Where the table existed before Alembic's migration, that one makes it itself.
COUNT_MOVED = """
    DO $$
    BEGIN
        IF to_regproc('move_usage') IS NOT NULL THEN
            DROP TRIGGER IF EXISTS count_moved ON files;
            CREATE TRIGGER count_moved AFTER UPDATE OF owner_id ON files
            FOR EACH ROW WHEN (OLD.owner_id <> NEW.owner_id) EXECUTE FUNCTION move_usage();
        END IF;
    END
    $$
"""
DO_NOT_COUNT_MOVED = "DROP TRIGGER IF EXISTS count_moved ON files"


class Migration(migrations.Migration):
    """Refer to spaces, and say who uploaded a file."""

    dependencies = (("files", "0003_usage"),)
    operations = (
        migrations.RunSQL(REFER, BACK),
        migrations.RunSQL(COUNT_MOVED, DO_NOT_COUNT_MOVED),
        migrations.AddField("file", "created_by", models.BigIntegerField(null=True)),
        migrations.AddIndex(
            "file",
            models.Index(
                fields=("created_by",),
                name="ix_files_created_by",
                condition=models.Q(created_by__lt=models.F("owner_id"))
                | models.Q(created_by__gt=models.F("owner_id")),
            ),
        ),
    )
