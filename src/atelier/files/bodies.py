"""JSON bodies: read by the mount before Django has the request, else by the view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from atelier.errors import AtelierError, Invalid
from atelier.files.uploads import has_body
from atelier.http.moving import Moving
from atelier.wire.complaints import COMPLAINTS, REFUSED, REQUIRED, complaint, refused, unknown
from atelier.wire.strict_json import LIMIT_BYTES, parse, require_json, too_large

if TYPE_CHECKING:
    from django.http import HttpRequest

JSON = "atelier.json"  # in the WSGI environment: the body, or the error that it ended with


def moving(request: HttpRequest) -> Moving:
    """The body of a move. Raises Unsupported, TooLarge, Malformed and Invalid."""
    if has_body(request.META):
        require_json(request.META.get("CONTENT_TYPE", ""))
    body = _body(request)
    if not body:
        raise refused(REQUIRED, "body")
    value = parse(body)
    try:
        return Moving.model_validate(value)
    except ValidationError as error:
        found = [
            {
                "loc": ["body", *each["loc"]],
                "msg": unknown(Moving.model_fields)
                if each["type"] == "extra_forbidden"
                else complaint(each),
            }
            for each in error.errors()[: COMPLAINTS + 1]  # one more shows that there are more
        ]
        raise Invalid(REFUSED, errors=found) from None


def _body(request: HttpRequest) -> bytes:
    found: bytes | AtelierError | None = request.META.get(JSON)
    if isinstance(found, AtelierError):
        raise found
    if found is not None:
        return found
    body: bytes = request.read(LIMIT_BYTES + 1)
    if len(body) > LIMIT_BYTES:
        raise too_large()
    return body
