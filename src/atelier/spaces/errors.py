"""The refusals of spaces, each with a slug of its own."""

from __future__ import annotations

from atelier.errors import Conflict

NO_SPACE = "There is no such space."
NO_MEMBER = "There is no such member."


class LastOwner(Conflict):
    """A space needs an owner."""

    slug = "last-owner"


class PersonalSpace(Conflict):
    """A person's own space stays theirs alone."""

    slug = "personal-space"


class AlreadyMember(Conflict):
    """This account is a member already."""

    slug = "already-member"


class TooManySpaces(Conflict):
    """There are too many spaces."""

    slug = "too-many-spaces"
