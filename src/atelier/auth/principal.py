"""The one who makes a request, and the rights of persons and keys: who may do what.

Every edge calls `require` or `may`; nothing else decides. Knows no framework and no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atelier.errors import Forbidden, NotFound


class Right(StrEnum):
    """Something that one may do with a kind of thing; API keys name theirs by these words."""

    IMAGES_READ = "images:read"
    IMAGES_WRITE = "images:write"
    TASKS_READ = "tasks:read"
    TASKS_WORK = "tasks:work"
    TASKS_WRITE = "tasks:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    BOOKS_READ = "books:read"
    BOOKS_WRITE = "books:write"
    MANAGE = "manage"


class Role(StrEnum):
    """What a member is in a space; each role has the rights of those before it, and more."""

    VIEWER = "viewer"
    WORKER = "worker"
    EDITOR = "editor"
    OWNER = "owner"


RIGHTS: dict[Right, str] = {
    Right.IMAGES_READ: "See pictures and their records.",
    Right.IMAGES_WRITE: "Upload, change and delete pictures.",
    Right.TASKS_READ: "See tasks and their pictures.",
    Right.TASKS_WORK: "Take tasks, give them back and complete them.",
    Right.TASKS_WRITE: "Make and delete tasks.",
    Right.FILES_READ: "See files and what was found in them.",
    Right.FILES_WRITE: "Upload, retry and delete files.",
    Right.BOOKS_READ: "See the catalogue of books.",
    Right.BOOKS_WRITE: "Add, change and delete books.",
    Right.MANAGE: "Manage a space; no key may have this.",
}
GRANTABLE = frozenset(RIGHTS) - {Right.MANAGE}  # what an API key may have
_VIEW = frozenset(
    {Right.IMAGES_READ, Right.TASKS_READ, Right.FILES_READ, Right.BOOKS_READ, Right.BOOKS_WRITE}
)  # books are one catalogue, which everybody keeps
_WORK = _VIEW | {Right.TASKS_WORK}
ROLE_RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEW,
    Role.WORKER: _WORK,
    Role.EDITOR: _WORK | {Right.IMAGES_WRITE, Right.TASKS_WRITE, Right.FILES_WRITE},
    Role.OWNER: frozenset(RIGHTS),
}
CATALOGUE = frozenset({Right.BOOKS_WRITE})  # what `books_by` may leave to administrators
CHANGING = frozenset(
    right for right in Right if not right.endswith(":read")
)  # what another site must not have a browser do


class NotAllowed(Forbidden):
    """You may not do this here."""

    slug = "not-allowed"


@dataclass(frozen=True, slots=True)
class Principal:
    """The user who makes a request, and by what: a session, or one of the user's keys.

    `session_id` names the refresh family, or the key as `key.7`. `rights` are a key's; None is a
    person, who has all that their roles give. `roles` are the spaces that the principal may enter;
    a person's own space has their id. `withheld` is what this instance leaves to administrators,
    where the user is none.
    """

    user_id: int
    session_id: str
    administrator: bool = False
    key_id: int | None = None
    rights: frozenset[Right] | None = None
    roles: Mapping[int, Role] = field(default_factory=dict, hash=False)
    via_cookie: bool = False
    withheld: frozenset[Right] = frozenset()

    @property
    def home(self) -> int:
        """The space that is meant where none is named: one's own, or that of the key."""
        return self.user_id if self.key_id is None else next(iter(self.roles))

    @property
    def actor(self) -> str:
        """The name of who acts, in events: `users/7`, or `keys/3`."""
        return f"users/{self.user_id}" if self.key_id is None else f"keys/{self.key_id}"


def may(principal: Principal, space_id: int | None, right: Right) -> bool:
    """Return whether `principal` has `right` in a space; None is what all spaces share."""
    if lacks(principal, right):
        return False
    if space_id is None:
        return right in _ANYWHERE
    role = principal.roles.get(space_id)
    return role is not None and right in ROLE_RIGHTS[role]


_ANYWHERE = frozenset({Right.BOOKS_READ, Right.BOOKS_WRITE})


def lacks(principal: Principal, right: Right) -> bool:
    """Return whether `principal` is without `right` wherever it would be used.

    That is a key without it, and whoever is no administrator where it is left to these.
    """
    if right in principal.withheld:
        return True
    return principal.rights is not None and right not in principal.rights


def reserved(books_by: str) -> frozenset[Right]:
    """Return the rights that the setting `books_by` leaves to administrators."""
    return CATALOGUE if books_by == "administrators" else frozenset()


def lacks_role(role: Role, right: Right) -> bool:
    """Return whether `role` is without `right`, or `right` is none that a key may have."""
    return right not in GRANTABLE or right not in ROLE_RIGHTS[role]


def has(principal: Principal, right: Right) -> None:
    """Raise NotAllowed for who is without `right` wherever it would be used."""
    if not lacks(principal, right):
        return
    if principal.rights is not None and right not in principal.rights:
        raise NotAllowed(f"This key has no right to `{right}`.")
    raise NotAllowed(f"On this instance only administrators have the right to `{right}`.")


def require(principal: Principal, space_id: int, right: Right, missing: str) -> None:
    """Raise NotFound, saying `missing`, for a stranger, and NotAllowed for a member."""
    if space_id not in principal.roles:
        raise NotFound(missing)
    if not may(principal, space_id, right):
        raise NotAllowed("Your role in this space does not allow this.")


def in_space(principal: Principal, space_id: int | None, right: Right) -> int:
    """Return the space to work in: the one that is named, or the principal's own.

    Raises NotFound for a stranger's, and NotAllowed without the right there.
    """
    chosen = principal.home if space_id is None else space_id
    require(principal, chosen, right, "There is no such space.")
    return chosen


def spaces_with(principal: Principal, right: Right) -> list[int]:
    """Return the spaces in which `principal` has `right`."""
    return [space_id for space_id in principal.roles if may(principal, space_id, right)]


def is_person(principal: Principal) -> None:
    """Raise NotAllowed for a key: accounts, keys and members are for persons to manage."""
    if principal.key_id is not None:
        raise NotAllowed("An API key may not do this; sign in.")
