"""Every setting: command line over environment `ATELIER_*` over `atelier.yaml` over defaults."""

from __future__ import annotations

from atelier.settings.loading import SettingsError, load
from atelier.settings.model import Settings
from atelier.settings.people import Admission
from atelier.settings.places import Bucket, store_place
from atelier.settings.sources import EMBEDDED, EMBEDDED_VARIABLE, PREFIX, ROOT_VARIABLE

__all__ = [
    "EMBEDDED",
    "EMBEDDED_VARIABLE",
    "PREFIX",
    "ROOT_VARIABLE",
    "Admission",
    "Bucket",
    "Settings",
    "SettingsError",
    "load",
    "store_place",
]
