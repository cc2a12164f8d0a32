"""What routes of accounts read of a request, and what they tell the other processes."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Request

from atelier.accounts import revocations
from atelier.accounts.sessions import Client, Lives
from atelier.http.ratelimit import client_of as address_of
from atelier.http.resources import Resources
from atelier.settings import Settings

UNSEEN = {"Cache-Control": "no-store"}  # RFC 6749: no cache keeps tokens


def client_of(request: Request) -> Client:
    """Who asks."""
    return Client(address_of(request), request.headers.get("user-agent", ""))


def lives(settings: Settings) -> Lives:
    """How long sessions live."""
    return Lives(
        timedelta(days=settings.refresh_token_days), timedelta(days=settings.session_days)
    )


async def session_ended(resources: Resources, session_id: str) -> None:
    """Tell every process that a session has ended."""
    await revocations.announce(resources.redis, resources.authenticator, session_id=session_id)


async def user_ended(resources: Resources, user_id: int) -> None:
    """Tell every process that sessions of a user have ended."""
    await revocations.announce(resources.redis, resources.authenticator, user_id=user_id)
