"""Every advisory lock that Atelier takes in PostgreSQL, in one list, so no two share a number.

Locks are per database. Those with one number share a key space; those with two have a class, and
a key space, of their own. Releases that run side by side must agree on the numbers, so they never
change.
"""

from __future__ import annotations

MIGRATION = 7241001  # one Alembic migrator at a time, and none while a backup reads the tables
FILES_MIGRATION = 7241002  # the same for Django's migrations
# Held by a backup while it copies the blobs of its snapshot: nothing is removed meanwhile.
BLOB_REMOVAL = 7241003
# Held, to the end of its transaction, by whoever may make the first account, and by whoever takes
# an administrator away: there is one, and there stays one.
ADMINISTRATORS = 7241004
SHARING = 7241005  # held by a migrator while it lets the other database role use the tables

RELAY_CLASS = 0x41544C52
RELAY_ACTIVE = 1  # held by the one relay that sends
RELAY_ASLEEP = 2  # held by the relay while it waits to be woken: writers test it

PRESENCE_CLASS = 0x41544C50  # with a number that each process draws, and holds while it lives
