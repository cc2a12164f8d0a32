"""Every module that declares a table, so that Alembic sees them all."""

from __future__ import annotations

from atelier import belonging, garbage, outbox
from atelier.accounts import models as accounts
from atelier.books import models as books
from atelier.http import kept
from atelier.images import models as images
from atelier.tasks import models as tasks

MODULES = (outbox, garbage, belonging, kept, accounts, images, books, tasks)
