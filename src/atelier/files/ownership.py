"""Whether the blobs are this database's.

A worker would take a wrong store for one whose contents are gone.
"""

from __future__ import annotations

import logging
import os

from django.core.files.storage import default_storage
from django.db import OperationalError, connection

from atelier.blobs import mark
from atelier.errors import AtelierError
from atelier.files import django_setup
from atelier.files.models import File

SAMPLE = 5  # files of which one must be in a store without a mark

log = logging.getLogger(__name__)


def require_own_store() -> None:
    """End this process when the store is another database's.

    A child looks: the client of a store elsewhere, once used, does not survive the fork of the
    worker's children.
    """
    child = os.fork()
    if not child:
        django_setup.context().reopen()
        os._exit(_look())
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(2)


def _look() -> int:
    """0 when the store is ours, or when that cannot be known now: jobs will then be offered again."""
    try:
        return int(not _is_own())
    except (AtelierError, OperationalError) as error:
        log.warning("whose blobs these are is not known yet: %s", error)
    except Exception:
        log.exception("whose blobs these are is not known")
    return 0


def _is_own() -> bool:
    """Marked so; without a mark, which is other roles' to make, it must hold some of what our rows refer to."""
    here = django_setup.context()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM instance")
        ours = cursor.fetchone()[0]
    theirs = mark.read(here.run(here.blobs.mark()))
    names = [] if theirs else [file.file.name for file in File.objects.only("file")[:SAMPLE]]
    own = theirs == ours or (
        theirs is None and (not names or any(map(default_storage.exists, names)))
    )
    if not own:
        log.error("the blobs are not this database's: `atelier blobs verify` says more")
    return own
