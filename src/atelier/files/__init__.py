"""Files of any kind: uploaded, looked at in the background, listed, handed out.

A Django app, and a project by itself.

`celery -A atelier.files worker` is its worker; `atelier.files.wsgi` and `atelier.files.asgi` serve
it alone.
"""

SETTINGS_MODULE = "atelier.files.settings"  # Django's, for processes that name none
