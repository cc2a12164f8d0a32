"""What the slice of accounts asks of the slice of spaces, which it does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from atelier.auth import Principal, Role

    Forget = Callable[[AsyncSession, int], Awaitable[None]]


class Teams(Protocol):
    """Memberships of teams' spaces, each function in the caller's transaction.

    A space is locked before the list of administrators, and before accounts.
    """

    async def hold(self, session: AsyncSession, space_id: int) -> bool:
        """Lock a space for who is about to enter it; False if it is gone."""

    async def hold_managed(
        self, session: AsyncSession, principal: Principal, space_id: int
    ) -> None:
        """Lock a team's space that `principal` owns. Raises NotFound, NotAllowed, Conflict."""

    async def invited(
        self,
        session: AsyncSession,
        principal: Principal,
        space_id: int,
        invitation_id: int,
        role: Role,
    ) -> None:
        """Announce an invitation to a locked space."""

    async def joined(
        self,
        session: AsyncSession,
        space_id: int,
        user_id: int,
        invitation_id: int,
        role: Role,
    ) -> None:
        """Make a user a member of a locked space. Raises Conflict for who is one already."""

    async def hold_all(self, session: AsyncSession, user_id: int) -> None:
        """Lock every team's space of a user."""

    async def leave(self, session: AsyncSession, user_id: int, forget: Sequence[Forget]) -> None:
        """Take a locked user out of every team. Raises Conflict for the last owner of one."""
