"""One's own account: read it, name it, delete it with everything.

One use case, one transaction, an explicit commit. Knows no HTTP and no other slice: functions of
the caller delete a leaving user's other data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from atelier.accounts import events
from atelier.accounts.errors import gone
from atelier.accounts.models import User
from atelier.accounts.registration import ACCEPTANCES, REGISTRATIONS, hold_administrators
from atelier.accounts.schemas import Account
from atelier.database import Database
from atelier.errors import PreconditionFailed
from atelier.events import outbox
from atelier.http import allowance, idempotency
from atelier.http.teams import Teams
from atelier.observe import audit
from atelier.observe.audit import AuditEvent

Forget = Callable[[AsyncSession, int], Awaitable[None]]
Expected = Callable[[str], bool]  # judges the present entity tag (If-Match)

_ACCOUNT = """
    SELECT id, email, name, administrator, tasks_created, created_at FROM users WHERE id = $1
"""


async def me(database: Database, user_id: int) -> Account:
    """The account. Raises Unauthenticated if it is gone since the token was verified."""
    row = await database.fetchrow(_ACCOUNT, user_id)
    if row is None:
        raise gone()
    return Account(**row)


async def rename(
    database: Database, user_id: int, changes: dict[str, str | None], expected: Expected
) -> Account:
    """Change what `changes` names; the account as it then is.

    Raises PreconditionFailed, and Unauthenticated if the user is gone.
    """
    async with database.session() as session:
        user = await _locked(session, user_id, expected, key_share=True)
        for field, value in changes.items():
            setattr(user, field, value)
        await session.commit()
    return Account.model_validate(user)


async def delete_account(
    session: AsyncSession,
    user_id: int,
    expected: Expected,
    *,
    forget: Sequence[Forget],
    disown: Sequence[Forget],
    teams: Teams | None,
) -> None:
    """Delete a user with their own space, and take them out of their teams.

    In the same transaction `forget` deletes what other slices have in a space, and `disown` takes
    the user's name off what stays. Where the last administrator leaves, the oldest other account
    becomes one. Raises PreconditionFailed, Conflict for the last owner of a space that has other
    members, and Unauthenticated if the user is already gone.
    """
    if teams is not None:
        await teams.hold_all(session, user_id)
    # Locked before anything goes: a transaction that adds something for this user waits for this
    # one to end, and then finds no user. `leave` locks the user's own space as well, which is what
    # new rows in it refer to.
    user = await _locked(session, user_id, expected, key_share=False)
    await allowance.forget(session, user_id)
    if teams is not None:
        await teams.leave(session, user_id, forget)
    for each in (*forget, *disown, idempotency.forget):
        await each(session, user_id)
    for tag in Account.model_validate(user).first_etags:
        for scope in (REGISTRATIONS, ACCEPTANCES):
            await idempotency.forget_answer(session, scope, tag)
    outbox.record(
        session, events.DELETED, events.subject(user.id), user.sequence + 1, events.state(user)
    )
    if user.administrator:
        await hold_administrators(session)
        await _hand_over(session, user_id)
    await session.execute(delete(User).where(User.id == user_id))
    await session.commit()
    audit.record(AuditEvent.ACCOUNT_DELETED, user=user_id)


async def _locked(
    session: AsyncSession, user_id: int, expected: Expected, *, key_share: bool
) -> User:
    user: User | None = await session.scalar(
        select(User).where(User.id == user_id).with_for_update(key_share=key_share)
    )
    if user is None:
        raise gone()
    if not expected(Account.model_validate(user).etag):
        raise PreconditionFailed("The account has changed since this entity tag.")
    return user


async def other_administrator(session: AsyncSession, user_id: int) -> bool:
    """Whether somebody else is an administrator who can sign in."""
    others = exists(
        select(User.id).where(
            User.id != user_id, User.administrator.is_(True), User.disabled_at.is_(None)
        )
    )
    return bool(await session.scalar(select(others)))


async def _hand_over(session: AsyncSession, user_id: int) -> None:
    """Make the oldest other account an administrator unless another is one."""
    others = select(User).where(User.id != user_id, User.disabled_at.is_(None))
    oldest = others.order_by(User.id).limit(1)
    while not await other_administrator(session, user_id):
        heir = await session.scalar(oldest.with_for_update(key_share=True))
        if heir is not None:
            heir.administrator = True
            return
        # The one that was locked has just been deleted: there may be a next one.
        if await session.scalar(oldest) is None:
            return
