"""The triggers that count files for quotas; Alembic's migrations have made their function."""

from __future__ import annotations

from django.db import migrations

# Where the table existed before that migration of Alembic's, it makes them itself.
MAKE = """
    DO $$
    BEGIN
        IF to_regproc('count_usage') IS NOT NULL THEN
            DROP TRIGGER IF EXISTS count_made ON files;
            DROP TRIGGER IF EXISTS count_gone ON files;
            CREATE TRIGGER count_made AFTER INSERT ON files REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION count_usage('1');
            CREATE TRIGGER count_gone AFTER DELETE ON files REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION count_usage('-1');
        END IF;
    END
    $$
"""
DROP = """
    DROP TRIGGER IF EXISTS count_made ON files;
    DROP TRIGGER IF EXISTS count_gone ON files;
"""


class Migration(migrations.Migration):
    """Count what is made and deleted."""

    dependencies = (("files", "0002_taken_at"),)
    operations = (migrations.RunSQL(MAKE, DROP),)
