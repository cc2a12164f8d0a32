"""The shapes of account requests and answers, as OpenAPI shows them. Knows no database."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from atelier.wire import texts
from atelier.wire.texts import bounded, too_long

EMAIL_MAX = 254  # RFC 5321
PASSWORD_MIN, PASSWORD_MAX = 8, 128
REFRESH_TOKEN_MAX = 200  # ours have 76


def address(email: str) -> str:
    """`email` in its normal form. Raises ValueError if it is no address; asks no DNS.

    Names under `.test` are accepted: no mail is ever sent, and people try Atelier with such
    addresses.
    """
    try:
        return validate_email(
            bounded_address(email), check_deliverability=False, test_environment=True, strict=True
        ).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None


def bounded_address(email: str) -> str:
    """`email` itself. Raises ValueError for what is too long for an address, or piles up marks."""
    if len(email) > EMAIL_MAX:
        raise ValueError(too_long(EMAIL_MAX))
    return bounded(email, EMAIL_MAX)


def folded(email: str) -> str:
    """The form under which two spellings are one address."""
    return texts.folded(email, EMAIL_MAX)


def _printable(secret: SecretStr) -> SecretStr:
    if any(unicodedata.category(character) == "Cc" for character in secret.get_secret_value()):
        raise ValueError("control characters are not allowed")
    bounded(secret.get_secret_value(), PASSWORD_MAX)
    return secret


Address = Annotated[
    str,
    Field(max_length=EMAIL_MAX, json_schema_extra={"format": "email"}),
    AfterValidator(address),
]
Password = Annotated[
    SecretStr, Field(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX), AfterValidator(_printable)
]


class Registration(BaseModel):
    """A new account."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"email": "anna@example.org", "password": "a quiet workshop"}]
        },
    )

    email: Address
    password: Password


class Refresh(BaseModel):
    """A refresh token to be exchanged."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [
                {"refresh_token": "0b9f6c1e1f0d4c1f8a6f6f0e4f9f2a11.V2hhdCBhIHF1aWV0IHBsYWNl"}
            ]
        },
    )

    refresh_token: Annotated[str, Field(min_length=1, max_length=REFRESH_TOKEN_MAX)]


class Account(BaseModel):
    """An account, as its owner sees it."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "email": "anna@example.org",
                    "tasks_created": 0,
                    "created_at": "2026-11-21T09:30:00Z",
                }
            ]
        },
    )

    id: int
    email: str
    tasks_created: int
    created_at: datetime

    @property
    def etag(self) -> str:
        """The entity tag: of the shown fields only the counter ever changes."""
        return f"{self.id}.{self.tasks_created}"

    @property
    def first_etag(self) -> str:
        """The entity tag of a new account."""
        return f"{self.id}.0"


class Pair(BaseModel):
    """An access token, and the refresh token that can be exchanged once for the next pair."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
                    "token_type": "bearer",
                    "expires_in": 900,
                    "refresh_token": "0b9f6c1e1f0d4c1f8a6f6f0e4f9f2a11.V2hhdCBhIHF1aWV0IHBsYWNl",
                }
            ]
        }
    )

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int
    refresh_token: str
