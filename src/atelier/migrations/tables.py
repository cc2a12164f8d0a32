"""Every module that declares a table, so that Alembic sees them all."""

from __future__ import annotations

from atelier import garbage, outbox
from atelier.accounts import models as accounts
from atelier.books import models as books
from atelier.http import idempotency
from atelier.images import models as images
from atelier.tasks import models as tasks

MODULES = (outbox, garbage, idempotency, accounts, images, books, tasks)
