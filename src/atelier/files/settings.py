"""Django's constant settings; those of the instance come from `django_setup`."""

from __future__ import annotations

from typing import Any

DEBUG = False
ALLOWED_HOSTS = ("*",)  # `hosts` judges; no URL is ever made from the Host header
INSTALLED_APPS = ("rest_framework", "drf_spectacular", "atelier.files")
MIDDLEWARE = ("atelier.files.standalone.middleware",)
ROOT_URLCONF = "atelier.files.urls"
WSGI_APPLICATION = "atelier.files.wsgi.application"
ASGI_APPLICATION = "atelier.files.asgi.application"
APPEND_SLASH = False  # a redirect would drop the body of a POST
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LOGGING_CONFIG = None  # atelier.observe.logs sets up the root logger
DATABASES: dict[str, dict[str, Any]] = {"default": {"ENGINE": "django.db.backends.postgresql"}}
STORAGES = {"default": {"BACKEND": "atelier.files.storage.BlobStorage"}}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ("atelier.files.authentication.BearerAuthentication",),
    "DEFAULT_PERMISSION_CLASSES": (),  # requests without a valid token fail before
    "DEFAULT_PAGINATION_CLASS": "atelier.files.paging.KeysetPagination",
    "DEFAULT_PARSER_CLASSES": (),  # `uploads` reads the one body that there is
    "DEFAULT_RENDERER_CLASSES": ("rest_framework.renderers.JSONRenderer",),
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "atelier.files.problems.JsonAlways",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is not supported, here as elsewhere
    "DEFAULT_SCHEMA_CLASS": "atelier.files.openapi.Operation",
    "EXCEPTION_HANDLER": "atelier.files.problems.handle",
    "UNAUTHENTICATED_USER": None,  # Django's own would need contrib.auth and its tables
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Atelier: files",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "FileStatus": "atelier.files.models.Status",
        "FileKind": "atelier.files.models.Kind",
    },
}
