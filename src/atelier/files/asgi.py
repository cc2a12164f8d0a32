"""The slice alone under any ASGI server: `uvicorn atelier.files.asgi:application`."""

from __future__ import annotations

from atelier.files import django_setup
from atelier.files.mount import Mount
from atelier.files.wsgi import application as wsgi
from atelier.http.admission import Uploads

application = Mount(wsgi, uploads=Uploads(django_setup.context().settings.upload_limit))
