"""The settings of accounts and of what each may send and keep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from atelier.settings.places import MIB, plain_address

Admission = Literal["open", "invited", "closed"]
Keepers = Literal["members", "administrators"]


class People(BaseSettings):
    """Secrets, sessions, sign-ins and quotas."""

    secret: SecretStr | None = Field(
        None,
        description="Key that signs tokens, 32 bytes or more; none: `atelier up` makes one in the "
        "data folder.",
    )
    access_token_seconds: int = Field(900, ge=1, description="Life of an access token.")
    refresh_token_days: int = Field(30, ge=1, description="Life of a refresh token.")
    session_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Life of a session from its sign-in, however often it is refreshed.",
    )
    registration: Admission | None = Field(
        None,
        description="Who may make an account: everybody (`open`), who has an invitation "
        "(`invited`) or nobody (`closed`). Unless it is closed the very first account needs no "
        "invitation: it is the administrator. None: `open` while `host` is a loopback address, "
        "else `invited`.",
    )
    public_url: Annotated[str, AfterValidator(plain_address)] | None = Field(
        None,
        description="Address by which people reach the HTTP API, `https://atelier.example.org`, "
        "for links that are handed out; none: `http://host:port`.",
    )
    logins_per_minute: int = Field(
        5,
        ge=1,
        description="Failed logins a minute per address and client before 429.",
    )
    sign_ins_per_minute: int = Field(
        60,
        ge=1,
        description="Attempts a minute of one client network to sign in, right ones too, before "
        "429; as many to register, to change and to reset a password, ten times as many to "
        "refresh.",
    )

    body_limit: int = Field(128 * MIB, ge=1024, description="Largest request body.")
    upload_limit: int = Field(
        256,
        ge=1,
        description="Uploads that an API process receives at once; more are answered 503.",
    )
    books_by: Keepers = Field(
        "members",
        description="Who may add, change and delete books: everybody who is signed in "
        "(`members`), or administrators alone (`administrators`), in both cases with their keys "
        "that have the right `books:write`. Everybody sees them.",
    )
    space_limit: int = Field(
        100,
        ge=1,
        description="Spaces of teams that one person may own when they make another one.",
    )
    quota_objects: int | None = Field(
        None,
        ge=1,
        description="Pictures, tasks and files together that one space may keep, a person's "
        "own or a team's; none: any number.",
    )
    quota_bytes: int | None = Field(
        None,
        ge=1,
        description="Bytes that the pictures, tasks and files of one space may take together, as "
        "they were uploaded; renditions are not counted. None: any number.",
    )
