"""The URLs: the contract's, the root's, and each with or without its trailing slash."""

from __future__ import annotations

from typing import Any

from django.urls import path

from atelier.files import problems, views
from atelier.problem_types import BASE

PREFIXES = ("/api/upload", "/api/files", "/upload", "/files")
UPLOADS = ("/api/upload", "/upload")
ROUTES: tuple[tuple[str, Any], ...] = (
    ("api/upload/", views.Upload),
    ("api/files/", views.Files),
    ("api/files/move/", views.Move),
    ("api/files/<int:file_id>/", views.Detail),
    ("api/files/<int:file_id>/content", views.Content),
    ("api/files/<int:file_id>/thumbnail", views.Thumbnail),
    ("api/files/<int:file_id>/retry", views.Retry),
    ("upload/", views.Upload),
    ("files/", views.Files),
)

documented = [path(route, view.as_view()) for route, view in ROUTES]
twins = [
    path(route[:-1] if route[-1] == "/" else f"{route}/", view.as_view()) for route, view in ROUTES
]
# The API around the slice has these pages itself; they are for the slice alone.
pages = [path(f"{BASE[1:]}<str:slug>{end}", problems.page) for end in ("", "/")]
urlpatterns = documented + twins + pages

handler400 = problems.bad_request
handler404 = problems.not_found
handler500 = problems.server_error
