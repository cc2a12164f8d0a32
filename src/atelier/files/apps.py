"""The files slice as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class FilesConfig(AppConfig):
    """`atelier.files`, under the label `files`."""

    name = "atelier.files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Configure Django from the environment, unless `configure` has been called."""
        from atelier.files import django_setup

        django_setup.setup()
