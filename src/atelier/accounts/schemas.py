"""The shapes of account requests and answers, as OpenAPI shows them. Knows no database."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import datetime
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
)

from atelier.http.strict import one_line
from atelier.wire import texts
from atelier.wire.texts import bounded, too_long

EMAIL_MAX = 254  # RFC 5321
PASSWORD_MIN, PASSWORD_MAX = 8, 128
REFRESH_TOKEN_MAX = 200  # ours have 76
LINK_TOKEN_MAX = 200  # ours have 43
NAME_MAX = 100


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
# One that is only compared: it may be older than today's rules.
PresentPassword = Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_MAX)]
LinkToken = Annotated[str, Field(min_length=1, max_length=LINK_TOKEN_MAX)]
Name = Annotated[str, one_line(NAME_MAX), Field(min_length=1, max_length=NAME_MAX)]


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
    invitation: LinkToken | None = Field(
        None,
        description="The token of an invitation, where accounts are made by invitation.",
    )


class AccountChange(BaseModel):
    """What may be changed of one's account; a field left out stays, null takes the name away."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"name": "Anna Karenina"}]}
    )

    name: Name | None = None


class PasswordChange(BaseModel):
    """The present password, and the one to have from now on."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"current": "a quiet workshop", "new": "a louder workshop"}]
        },
    )

    current: PresentPassword
    new: Password


class Leaving(BaseModel):
    """The confirmation of a deletion."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"password": "a quiet workshop"}]},
    )

    password: PresentPassword | None = None


class Reset(BaseModel):
    """A new password, by the token of a one-time link."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "token": "V2hhdCBhIHF1aWV0IHBsYWNlIHRoaXMgaXMgdG8gd29yaw",
                    "password": "a louder workshop",
                }
            ]
        },
    )

    token: LinkToken
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
                    "name": "Anna Karenina",
                    "administrator": False,
                    "tasks_created": 0,
                    "created_at": "2026-11-21T09:30:00Z",
                }
            ]
        },
    )

    id: int
    email: str
    name: str | None = Field(description="As others are shown it; null until it is given.")
    administrator: bool = Field(description="Whether the account looks after this instance.")
    tasks_created: int
    created_at: datetime

    @property
    def etag(self) -> str:
        """The entity tag: of all that is shown and ever changes."""
        return _tag(self.id, self.tasks_created, self.name, administrator=self.administrator)

    @property
    def first_etags(self) -> list[str]:
        """The entity tags that the account may have had when it was new."""
        return [_tag(self.id, 0, None, administrator=whether) for whether in (False, True)]


def _tag(user_id: int, tasks_created: int, name: str | None, *, administrator: bool) -> str:
    role = ".a" if administrator else ""
    named = f".{hashlib.sha256(name.encode()).hexdigest()[:16]}" if name else ""
    return f"{user_id}.{tasks_created}{role}{named}"


class SessionRecord(BaseModel):
    """A session: one sign-in, and what it was prolonged by."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0b9f6c1e-1f0d-4c1f-8a6f-6f0e4f9f2a11",
                    "created_at": "2026-11-21T09:30:00Z",
                    "used_at": "2026-11-21T14:05:00Z",
                    "client": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0 (192.0.2.7)",
                    "current": True,
                    "expires_at": "2026-12-21T14:05:00Z",
                }
            ]
        },
    )

    id: str = Field(json_schema_extra={"format": "uuid"})
    created_at: datetime
    used_at: datetime = Field(description="When it was opened or last prolonged.")
    client: str | None = Field(
        description="The program and the network address it was opened from; null: not known."
    )
    current: bool = Field(description="Whether it is that of this request.")
    expires_at: datetime = Field(description="When it ends unless it is prolonged.")


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
