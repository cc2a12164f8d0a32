"""The two addresses of the seed."""

from __future__ import annotations

from django.urls import path

from benchmarks.peers.plain_drf import views

urlpatterns = [path("upload/", views.Upload.as_view()), path("files/", views.Files.as_view())]
