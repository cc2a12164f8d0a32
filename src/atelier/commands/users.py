"""`atelier users`: lists accounts, invites, resets passwords, disables, signs out.

It works beside a running instance and on a stopped one; processes that run hear of ended sessions
at once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from atelier import bootstrap
from atelier.accounts import operators, revocations
from atelier.accounts.links import INVITATION_PAGE as INVITATION
from atelier.accounts.models import User
from atelier.commands.database import reachable_database
from atelier.database import Database
from atelier.errors import Unavailable
from atelier.observe import logs
from atelier.settings import Settings

# A page of the console, which reads the token from the fragment: no server and no log sees it.
RESET = "/reset"

Action = Callable[[Database], Coroutine[Any, Any, str]]


def show(settings: Settings) -> int:
    """Print a line for each account, the oldest first."""

    async def action(database: Database) -> str:
        count = 0
        async for user in operators.listed(database):
            _say(_line(user))
            count += 1
        return f"{count} account{'s' * (count != 1)}"

    return _run(settings, action)


def _line(user: operators.Listed) -> str:
    last = f"last here {user.used_at:%Y-%m-%d}" if user.used_at else "no session"
    words = [
        str(user.id),
        user.email,
        *([user.name] if user.name else []),
        *(["administrator"] if user.administrator else []),
        *([f"disabled {user.disabled_at:%Y-%m-%d}"] if user.disabled_at else []),
        f"since {user.created_at:%Y-%m-%d}",
        last,
    ]
    return "  ".join(words)


def invite(settings: Settings, email: str | None) -> int:
    """Print a link by which an account can be made. Raises Conflict and Invalid."""
    return _link(settings, INVITATION, lambda database: operators.invite(database, email))


def reset(settings: Settings, email: str) -> int:
    """Print a link by which a user sets a new password. Raises NotFound."""
    return _link(settings, RESET, lambda database: operators.reset(database, email))


def disable(settings: Settings, email: str) -> int:
    """End the sessions of a user and let them sign in no more. Raises NotFound and Conflict."""
    return _about(
        settings,
        lambda database: operators.disable(database, email),
        "is disabled and signed out everywhere",
    )


def enable(settings: Settings, email: str) -> int:
    """Let a disabled user sign in again. Raises NotFound."""
    return _about(
        settings, lambda database: operators.enable(database, email), "can sign in again"
    )


def promote(settings: Settings, email: str) -> int:
    """Make a user an administrator. Raises NotFound."""
    return _about(
        settings,
        lambda database: operators.set_administrator(database, email, whether=True),
        "is an administrator",
    )


def demote(settings: Settings, email: str) -> int:
    """Make a user no longer an administrator. Raises NotFound and Conflict."""
    return _about(
        settings,
        lambda database: operators.set_administrator(database, email, whether=False),
        "is no administrator any more",
    )


def sign_out(settings: Settings, email: str | None) -> int:
    """End every session of a user; None: of everybody. Raises NotFound."""
    if email is not None:
        address = email
        return _about(
            settings,
            lambda database: operators.sign_out(database, address),
            "is signed out everywhere",
        )

    async def action(database: Database) -> str:
        count = await operators.sign_out_all(database)
        await _tell(settings, revocations.ALL)
        return f"everybody is signed out: {count} session{'s' * (count != 1)}"

    return _run(settings, action)


def _about(settings: Settings, change: Callable[[Database], Awaitable[User]], words: str) -> int:
    """Change a user, have every process ask for their sessions anew, and say it in a line."""

    async def action(database: Database) -> str:
        user = await change(database)
        await _tell(settings, f"{revocations.USER} {user.id}")
        return f"{user.email} {words}"

    return _run(settings, action)


def _link(settings: Settings, path: str, make: Callable[[Database], Awaitable[str]]) -> int:
    async def action(database: Database) -> str:
        return f"{settings.base_url}{path}#{await make(database)}"

    return _run(settings, action)


def _run(settings: Settings, action: Action) -> int:
    with reachable_database(settings) as url:
        logs.setup_audit("users", settings)
        _say(asyncio.run(_with(url, action)))
    return 0


async def _with(url: str, action: Action) -> str:
    database = Database(url, connections=1)
    try:
        return await action(database)
    finally:
        await database.close()


async def _tell(settings: Settings, word: str) -> None:
    """Tell the processes that run; without a Redis none does."""
    try:
        redis = bootstrap.open_redis(settings)
    except Unavailable:
        return
    async with redis:
        await revocations.tell(redis, word)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
