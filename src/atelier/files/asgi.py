"""The slice alone under any ASGI server: `uvicorn atelier.files.asgi:application`."""

from __future__ import annotations

from atelier.files.mount import Mount
from atelier.files.wsgi import application as wsgi

application = Mount(wsgi)
