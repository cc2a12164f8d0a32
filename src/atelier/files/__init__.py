"""Files of any kind: uploaded, inspected in the background, listed, downloaded.

A Django app, and a project by itself: `celery -A atelier.files worker` is its worker;
`atelier.files.wsgi` and `atelier.files.asgi` serve it alone.
"""

SETTINGS_MODULE = "atelier.files.settings"  # Django's, for processes that name none
