"""The files slice as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class FilesConfig(AppConfig):
    """`atelier.files`, under the label `files`."""

    name = "atelier.files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Take Atelier's settings from the environment, unless whoever embeds us has given theirs."""
        from atelier.files import django_setup

        django_setup.setup()
