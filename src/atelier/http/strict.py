"""Strict JSON bodies: judged before they are read, declared as JSON, valid UTF-8, storable.

FastAPI reads a body before it asks who sends it, takes whatever `json.loads` accepts (UTF-16, NaN,
lone surrogates) and calls other media types a 422. And integers in addresses: pydantic reads
`1.0`, `1_0` and ` 1` as such.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi.params import Form
from fastapi.routing import APIRoute, request_response
from pydantic import BeforeValidator, GetJsonSchemaHandler
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from atelier.errors import Invalid, Malformed
from atelier.http.auth import Needs, check_of
from atelier.http.bodies import limit_of, read
from atelier.wire.complaints import DECIMAL
from atelier.wire.moments import moment
from atelier.wire.problems import status_of
from atelier.wire.strict_json import parse, require_json
from atelier.wire.texts import composed, line

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def _decimal(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(DECIMAL)
    return value


Decimal = BeforeValidator(_decimal)  # for `Annotated` integers of paths and queries
Moment = Annotated[datetime, BeforeValidator(moment)]  # of queries


def normal(most: int) -> BeforeValidator:
    """For `Annotated` texts of queries: bounded, in NFC, of at most so many characters."""
    return BeforeValidator(lambda text: composed(text, most) if isinstance(text, str) else text)


def one_line(most: int) -> BeforeValidator:
    """For `Annotated` texts of bodies: in NFC on one line, of 1 to so many characters."""
    return BeforeValidator(lambda text: line(text, 1, most) if isinstance(text, str) else text)


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
    """A request whose JSON is read strictly, up to a limit.

    The errors of `json` are HTTPExceptions: FastAPI turns others into a bare 400.
    """

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(request.scope, request.receive)
        self._limit = limit

    async def body(self) -> bytes:
        """The whole body. Raises TooLarge."""
        if not hasattr(self, "_body"):
            self._body = await read(self, self._limit)
        return self._body

    async def json(self) -> Any:
        """The parsed body."""
        body = await self.body()
        try:
            return parse(body)
        except (Malformed, Invalid) as error:
            raise HTTPException(status_of(error), error.detail) from None


def adopt(route: APIRoute) -> None:
    """Make a route read its JSON body strictly; one without such a body stays as it is.

    Raises TypeError for a body that FastAPI would read as a form: it would do so before it knows
    who sends it. Read forms in the route, by `request.stream()`.
    """
    if route.body_field is None:
        return
    if isinstance(route.body_field.field_info, Form):
        raise TypeError(f"{route.path} declares a form, which would be read before its token")
    check = check_of(route)
    route.app = request_response(_strict(route.get_route_handler(), check, limit_of(check)))


def _strict(handle: Handler, check: Needs | None, limit: int) -> Handler:
    async def strict(request: Request) -> Response:
        if check is not None:
            await check(request)
        checked = JsonRequest(request, limit)
        if await checked.body():
            require_json(checked.headers.get("content-type", ""))
        return await handle(checked)

    return strict
