"""Imports every module that declares a table, so that Alembic sees them all."""

from __future__ import annotations

from atelier import trash_table
from atelier.accounts import models as accounts
from atelier.blobs import garbage, ownership
from atelier.books import models as books
from atelier.events import outbox
from atelier.http import idempotency_keys
from atelier.images import models as images
from atelier.spaces import models as spaces
from atelier.tasks import models as tasks

MODULES = (
    outbox,
    garbage,
    ownership,
    idempotency_keys,
    accounts,
    spaces,
    images,
    books,
    tasks,
    trash_table,
)
