"""Strict JSON bodies: declared as JSON, valid UTF-8, without characters that cannot be stored.

FastAPI reads whatever `json.loads` accepts (UTF-16, NaN, lone surrogates) and calls other media
types a 422. And integers in addresses: pydantic reads `1.0`, `1_0` and ` 1` as such.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import orjson
from fastapi.params import Form
from fastapi.routing import APIRoute, request_response
from pydantic import BeforeValidator, GetJsonSchemaHandler
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from atelier.errors import Unsupported
from atelier.wire.complaints import DECIMAL

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def _decimal(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(DECIMAL)
    return value


Decimal = BeforeValidator(_decimal)  # for `Annotated` integers of paths and queries


class _NeverNull:
    """OpenAPI offers no null."""

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The one shape that is not null."""
        (shape,) = (shape for shape in handler(schema)["anyOf"] if shape != {"type": "null"})
        return dict(shape)


def _given(value: object) -> object:
    """Refuse null, which a model cannot tell from a field left out: defaults are not looked at."""
    if value is None:
        raise ValueError("null is not a value for this; leave the field out to keep it")
    return value


T = TypeVar("T")
Kept = Annotated[
    T | None, BeforeValidator(_given), _NeverNull()
]  # for fields of a change, with the default None: a field left out stays as it is


class JsonRequest(Request):
    """A request whose JSON is read strictly.

    Its errors are HTTPExceptions: FastAPI turns others into a bare 400.
    """

    async def json(self) -> Any:
        """The parsed body."""
        body = await self.body()
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise HTTPException(400, f"The body is not valid JSON: {error.msg}.") from None
        if rb"\u0000" in body and has_nul(value):
            raise HTTPException(422, "A text in the body holds a NUL character.")
        return value


def adopt(route: APIRoute) -> None:
    """Make a route read its JSON body strictly; one without such a body stays as it is."""
    if route.body_field is not None and not isinstance(route.body_field.field_info, Form):
        route.app = request_response(_strict(route.get_route_handler()))


def _strict(handle: Handler) -> Handler:
    async def strict(request: Request) -> Response:
        checked = JsonRequest(request.scope, request.receive)
        if not is_json(checked.headers.get("content-type", "")) and await checked.body():
            raise Unsupported("Send JSON, as application/json.")
        return await handle(checked)

    return strict


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (
        essence.startswith("application/") and essence.endswith("+json")
    )


def has_nul(value: object) -> bool:
    """Whether any text in a JSON value holds a NUL.

    It walks without recursion, for JSON may be deep.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                return True
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
    return False
