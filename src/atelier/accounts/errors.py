"""The refusals of accounts, each with a slug of its own."""

from __future__ import annotations

from atelier.errors import Conflict, Forbidden, Unauthenticated


class WrongCredentials(Unauthenticated):
    """The address or the password is wrong."""

    slug = "wrong-credentials"


class WrongPassword(Forbidden):
    """The present password is wrong."""

    slug = "wrong-password"


class DeadRefreshToken(Unauthenticated):
    """This refresh token is not valid, or not any more; sign in again."""

    slug = "dead-refresh-token"


class AddressTaken(Conflict):
    """This address has an account."""

    slug = "address-taken"


class RegistrationClosed(Forbidden):
    """Accounts are made by invitation here."""

    slug = "registration-closed"


class DeadLink(Forbidden):
    """This link is not valid, or not any more."""

    slug = "dead-link"


class TooManyInvitations(Conflict):
    """There are too many invitations."""

    slug = "too-many-invitations"


def gone() -> Unauthenticated:
    """The refusal of a token whose account was deleted since the token was verified."""
    return Unauthenticated("The account is gone.")
