"""Events about users: the types, and the data that each carries, never a secret."""

from __future__ import annotations

from typing import Any

from atelier.accounts.models import User

CREATED = "user.created"
DELETED = "user.deleted"


def subject(user_id: int) -> str:
    """The subject of a user's events."""
    return f"users/{user_id}"


def state(user: User) -> dict[str, Any]:
    """The facts that a subscriber may want without asking back."""
    return {"id": user.id, "email": user.email, "created_at": user.created_at.isoformat()}
