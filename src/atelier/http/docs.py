"""The API's documentation on itself: `/openapi.json`, `/docs`, and a page for each problem type.

Swagger UI's files are those of an installed package. Nothing on a page comes from another host,
and its Content-Security-Policy would not let it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response

from atelier.errors import NotFound
from atelier.http.encoding import dumps
from atelier.http.json import JSON, Bodiless, Ready, raw_headers
from atelier.problem_types import BASE
from atelier.wire import problem_pages

PACKAGE = "drf_spectacular_sidecar"
FOLDER = "static/drf_spectacular_sidecar/swagger-ui-dist"
Asset = Literal["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]
MEDIA_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".png": b"image/png",
}
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    # Swagger UI shows the picture of an answer from a blob: URL, and has icons in data: URLs.
    b"img-src 'self' data: blob:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Atelier API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = Path(__file__).with_name("swagger.js").read_bytes()

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    """The one OpenAPI document."""
    if not hasattr(request.app.state, "openapi_json"):
        request.app.state.openapi_json = dumps(request.app.openapi())
    return _static(request, request.app.state.openapi_json, JSON)


@router.get("/")
@router.get("/api")
async def front() -> Response:
    """Lead a browser at the root to the documentation."""
    return Bodiless(307, [(b"location", b"/docs"), (b"content-length", b"0")])


@router.get("/docs")
async def page() -> Response:
    """Swagger UI."""
    return Ready(
        PAGE,
        200,
        [(b"content-type", b"text/html; charset=utf-8"), (b"content-security-policy", POLICY)],
    )


@router.get("/docs/start.js")
async def start(request: Request) -> Response:
    """The script that starts Swagger UI, a file because the page's policy allows none inline."""
    return _static(request, START, MEDIA_TYPES[".js"])


@router.get("/docs/{name}")
async def asset(request: Request, name: Asset) -> Response:
    """A file of Swagger UI."""
    return _static(request, read_asset(name), MEDIA_TYPES[Path(name).suffix])


@router.get(f"{BASE}{{slug}}")
async def problem_type(request: Request, slug: str) -> Response:
    """The page of a problem type, to which the `type` of a problem leads."""
    page = problem_pages.render(slug, request.headers.get("accept", ""))
    if page is None:
        raise NotFound("There is no problem type of this name.")
    return _static(request, page.body, page.media_type.encode(), page.headers)


@lru_cache(maxsize=8)
def read_asset(name: Asset) -> bytes:
    """A file of Swagger UI, found without importing its package, which would import Django."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(PACKAGE)
    return (Path(spec.origin).parent / FOLDER / name).read_bytes()


def _static(
    request: Request,
    body: bytes,
    media_type: bytes,
    more: Mapping[str, str] | None = None,
) -> Response:
    """Bytes that change with a release only."""
    etag = b'"%b"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
    headers = [(b"etag", etag), (b"cache-control", b"no-cache"), *raw_headers(media_type, more)]
    if request.headers.get("if-none-match", "").encode("latin-1") == etag:
        return Bodiless(304, headers)
    return Ready(body, 200, headers)
