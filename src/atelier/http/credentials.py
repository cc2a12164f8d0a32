"""Whose a request is: by the header `Authorization`, else by the cookie of a browser's session.

Knows no framework but ASGI, and no table: whose a credential is comes from the `Authenticator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.auth import CHANGING, Authenticator, Principal, Right, has
from atelier.errors import Forbidden
from atelier.observe import requester

if TYPE_CHECKING:  # files workers import this, and their image has no web framework
    from starlette.types import Scope

COOKIE = "atelier"
SECURE_COOKIE = f"__Host-{COOKIE}"  # under https; no other host of the domain can set it
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class CrossSite(Forbidden):
    """Another site may not use a browser's session."""

    slug = "cross-site"


def known(scope: Scope, authenticator: Authenticator) -> Principal | None:
    """Return the principal of a request if it was verified lately, without an await."""
    authorization, cookie = _credentials(scope)
    if authorization is not None:
        principal = authenticator.known(authorization)
    else:
        principal = authenticator.known_cookie(cookie) if cookie else None
    if principal is not None:
        requester.identify(principal.user_id, principal.session_id)
    return principal


async def authenticate(
    scope: Scope,
    authenticator: Authenticator,
    right: Right | None = None,
    *,
    fresh: bool = False,
) -> Principal:
    """Return the principal of a request, who has `right` if it is a key's to have.

    `fresh`: nothing that is remembered of the credential counts.

    Raises Unauthenticated, NotAllowed, and CrossSite for a change that another site asks for.
    """
    authorization, cookie = _credentials(scope)
    if authorization is None and cookie:
        principal = await authenticator.authenticate_cookie(cookie, fresh=fresh)
        requester.identify(principal.user_id, principal.session_id)
        if scope["method"] not in SAFE or right in CHANGING:
            require_own_page(scope)
    else:
        principal = await authenticator.authenticate(authorization, fresh=fresh)
        requester.identify(principal.user_id, principal.session_id)
    if right is not None:
        has(principal, right)
    return principal


def require_own_page(scope: Scope) -> None:
    """Raise CrossSite unless a page of our own origin makes this request.

    Browsers say so in `Sec-Fetch-Site`; where they do not (plain HTTP on a name of the local
    network), `Origin` must be ours.
    """
    headers = dict(scope["headers"])
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        ours = site == b"same-origin"
    else:
        own = scope.get("scheme", "http").encode() + b"://" + headers.get(b"host", b"")
        ours = headers.get(b"origin", b"").lower() == own.lower()
    if not ours:
        raise CrossSite("Requests by cookie that change something must come from our own pages.")


def cookie_name(scope: Scope) -> str:
    """Return the name of the session's cookie on this connection."""
    return SECURE_COOKIE if scope.get("scheme") == "https" else COOKIE


def _credentials(scope: Scope) -> tuple[str | None, str | None]:
    """Return the `Authorization` header of a request, and the value of the session's cookie."""
    authorization = cookies = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
            break
        if name == b"cookie":
            cookies = value if cookies is None else cookies + b"; " + value
    if authorization is not None or cookies is None:
        return authorization, None
    wanted = cookie_name(scope)
    for pair in cookies.decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return None, value
    return None, None
