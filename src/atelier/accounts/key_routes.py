"""API keys over HTTP: parse, call, shape."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from atelier.accounts import keys, shown_once
from atelier.accounts.models import ApiKey
from atelier.accounts.requests import session_ended
from atelier.accounts.schemas import Name
from atelier.auth import GRANTABLE, KEY_PREFIX, Right, Tokens
from atelier.http.auth import Person
from atelier.http.idempotency import Key, once
from atelier.http.json import json_response
from atelier.http.problems import responses
from atelier.http.resources import Res
from atelier.http.strict import Decimal
from atelier.wire.complaints import one_of
from atelier.wire.idempotency import fingerprint, scope
from atelier.wire.moments import moment

CREATE = "POST /api/keys"
PURPOSE = "api-key"  # of the digests that keys are made of
_EXAMPLE: dict[str, Any] = {"name": "scanner", "rights": ["images:read", "images:write"]}

router = APIRouter(prefix="/api/keys", tags=["keys"])
Id = Annotated[int, Field(ge=1, le=2**63 - 1), Decimal, Path(description="The key.", examples=[7])]


def _right(value: object) -> object:
    if not isinstance(value, str) or value not in GRANTABLE:
        raise ValueError(one_of(sorted(GRANTABLE)))
    return value


Granted = Annotated[
    str, BeforeValidator(_right), Field(json_schema_extra={"enum": sorted(GRANTABLE)})
]


class NewKey(BaseModel):
    """A new key."""

    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    name: Name
    space_id: Annotated[
        int | None,
        Field(ge=1, le=2**63 - 1, description="Where the key is good; left out: one's own space."),
    ] = None
    rights: Annotated[list[Granted], Field(min_length=1, max_length=len(GRANTABLE))]
    expires_at: Annotated[
        datetime | None,
        BeforeValidator(lambda value: value if value is None else moment(value)),
        Field(description="When the key ends; left out: never."),
    ] = None


class KeyRecord(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                _EXAMPLE
                | {
                    "id": 7,
                    "space_id": 3,
                    "created_at": "2026-11-21T09:30:00Z",
                    "expires_at": None,
                    "used_at": None,
                }
            ]
        },
    )

    id: int
    name: str
    space_id: int
    rights: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class MadeKey(KeyRecord):
    """A new API key with its secret, which is shown this once."""

    key: Annotated[str, Field(examples=["atk_kq3JzQ0xS9mX1m0o8v7WcF2y5tB4nR6uE1aHdLpGsVY"])]


def _record(key: ApiKey) -> dict[str, object]:
    return KeyRecord.model_validate(key).model_dump()


@router.post(
    "", status_code=201, response_model=MadeKey, responses=responses(401, 403, 404, 409, 422)
)
async def create(res: Res, body: NewKey, user: Person, key: Key = None) -> Response:
    """Make an API key.

    It is shown once; send it as `Authorization: Bearer atk_...`. It does only what its rights say,
    in its space, and can manage neither keys nor accounts nor members.
    """
    space_id = body.space_id or user.home
    ends = body.expires_at and body.expires_at.isoformat()
    mark = fingerprint([body.name, space_id, sorted(body.rights), ends])
    salt, hours = shown_once.new_salt(), res.settings.idempotency_hours
    async with once(res.database, scope(user.user_id, CREATE), key, mark, hours=hours) as run:
        if run.replay:
            return _shown(res.tokens, run.replay)
        await keys.create(
            res.database,
            user,
            secret=_secret(res.tokens, salt),
            name=body.name,
            space_id=space_id,
            rights=[Right(name) for name in set(body.rights)],
            expires_at=body.expires_at,
            before_commit=lambda session, made: run.keep(
                session,
                shown_once.kept(_record(made), salt, {"Location": f"/api/keys/{made.id}"}),
            ),
        )
        return _shown(res.tokens, run.answer)


def _secret(tokens: Tokens, salt: str) -> str:
    return KEY_PREFIX + shown_once.secret_of(tokens, PURPOSE, salt)


def _shown(tokens: Tokens, answer: Response) -> Response:
    """The kept answer with the key."""
    record, salt = shown_once.opened(answer)
    return shown_once.shown(answer, record | {"key": _secret(tokens, salt)})


@router.get("", response_model=list[KeyRecord], responses=responses(401, 403))
async def index(res: Res, user: Person) -> Response:
    """List my API keys.

    Newest first, without the keys themselves; one has a hundred at most.
    """
    found = await keys.mine(res.database, user.user_id)
    return json_response([_record(key) for key in found])


@router.get("/{key_id}", response_model=KeyRecord, responses=responses(401, 403, 404, 422))
async def read(key_id: Id, res: Res, user: Person) -> Response:
    """Get an API key.

    Its name, space and rights, and when it was last used; the key itself is shown to nobody.
    """
    return json_response(_record(await keys.find(res.database, user.user_id, key_id)))


@router.delete("/{key_id}", status_code=204, responses=responses(401, 403, 404, 422))
async def delete(key_id: Id, res: Res, user: Person) -> Response:
    """Revoke an API key.

    It is refused at once, and within a minute wherever the announcement does not arrive.
    """
    await keys.revoke(res.database, partial(session_ended, res), user.user_id, key_id)
    return Response(status_code=204)
