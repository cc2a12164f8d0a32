"""Every advisory lock that Atelier takes in PostgreSQL, in one list: the numbers must never meet.

Locks are per database. Those with one number share a key space; the relay's have a class of their
own. Numbers are part of what releases that run side by side agree on: they do not change.
"""

from __future__ import annotations

MIGRATION = 7241001  # one Alembic migrator at a time, and none while a backup reads the tables
FILES_MIGRATION = 7241002  # the same for Django's migrations
# Held by a backup while it copies what its snapshot of the rows refers to: nothing is removed
# then.
BLOB_REMOVAL = 7241003

RELAY_CLASS = 0x41544C52
RELAY_ACTIVE = 1  # held by the one relay that sends
RELAY_ASLEEP = 2  # held by the relay while it waits to be woken: writers look whether it is held
