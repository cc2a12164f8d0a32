"""Atelier's own Django slice under Django's ASGI handler, for comparison with our mount."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from atelier.files import django_setup

django_setup.configure(django_setup.context().settings)
application = get_asgi_application()
