"""What developers run: reference pages, migrations."""
