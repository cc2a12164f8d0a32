"""Checks that the blobs belong to this database.

A worker would take another database's store for one whose content is lost.
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
    """End this process if the store belongs to another database.

    A child process looks: a used client of a remote store does not survive the fork of the
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
    """0 if the store is ours or if that is unknown for now: jobs will then be offered again."""
    try:
        return int(not _is_own())
    except (AtelierError, OperationalError) as error:
        log.warning("the owner of the blobs is not known yet: %s", error)
    except Exception:
        log.exception("the owner of the blobs is not known")
    return 0


def _is_own() -> bool:
    """True if the store's mark is ours.

    Other roles write the mark; without one the store must hold some of the blobs in our rows.
    """
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
