"""The slice under a WSGI server: `granian --interface wsgi atelier.files.wsgi:application`."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from atelier.files import django_setup

django_setup.configure(django_setup.context().settings)
application = get_wsgi_application()
