"""The files slice as other roles see it: mounted in the API, deleted with an account.

Django and Celery are imported on use: most commands never use them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.auth import Authenticator
from atelier.files.statements import FORGET
from atelier.http.health import BROKER
from atelier.http.middleware import Elsewhere
from atelier.observe.health import Check
from atelier.settings import Settings

if TYPE_CHECKING:
    from atelier.files.mount import Mount


def mount(settings: Settings, authenticator: Authenticator) -> tuple[Elsewhere, Mount]:
    """Mount Django under its own prefixes, for requests whose token the API has verified.

    Also returns the function that closes it.
    """
    from atelier.files import django_setup

    django_setup.configure(settings)
    from django.core.wsgi import get_wsgi_application

    from atelier.files.mount import Mount
    from atelier.files.urls import PREFIXES

    django = Mount(
        get_wsgi_application(),
        authenticate=authenticator.authenticate,
    )
    return Elsewhere(django, PREFIXES), django


def checks(settings: Settings) -> dict[str, Check]:
    """Return the checks for `/readyz`: the broker, unless its Redis is checked already."""
    if settings.amqp_url is None:
        return {}
    from atelier.files import celery_app

    url = celery_app.broker_url(settings)
    return {BROKER: lambda: asyncio.to_thread(celery_app.ask, url)}


def document() -> dict[str, Any]:
    """Return the slice's part of the OpenAPI document."""
    from atelier.files import openapi_document

    return openapi_document.document()


async def forget(session: AsyncSession, owner_id: int) -> None:
    """Delete every file of one owner within the caller's transaction.

    The blobs become garbage with its commit.
    """
    await session.execute(text(FORGET), {"owner_id": owner_id})
