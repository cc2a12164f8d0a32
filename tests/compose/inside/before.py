"""Inside the migrate image: a database with data as before the last migration."""

from __future__ import annotations

import asyncio
import sys

import psycopg
from alembic import command
from alembic.script import ScriptDirectory

from atelier import bootstrap
from atelier.auth import Passwords
from atelier.commands.migrate import config
from atelier.files.migrate import migrate as migrate_files
from atelier.settings import load

email, password = sys.argv[1:]
url = bootstrap.database_url(load())
script = ScriptDirectory.from_config(config(url))
head = script.get_revision("head")
command.upgrade(config(url), str(head.down_revision))
migrate_files(url)
hashed = asyncio.run(Passwords().hash(password))
with psycopg.connect(url) as connection:
    connection.execute(
        "INSERT INTO users (email, email_folded, password_hash, sequence, created_at) VALUES "
        "(%s, %s, %s, 1, now())",
        (email, email, hashed),
    )
    connection.execute(
        "INSERT INTO books (title, author, publication_date, title_folded, author_folded, "
        "sequence)"
        " VALUES ('Dune', 'Frank Herbert', '1965-08-01', 'dune', 'frank herbert', 1)"
    )
    connection.execute(
        "INSERT INTO outbox (type, subject, sequence, data)"
        " SELECT 'book.created', 'books/' || id, 1, jsonb_build_object("
        "'id', id, 'title', title, 'author', author, 'publication_date', publication_date) FROM "
        "books"
    )
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
print(found[0] if found else "none", head.revision)
