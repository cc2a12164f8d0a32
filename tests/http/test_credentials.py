"""Whose a request is: header before cookie, and what another site may not do by a cookie."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from atelier.auth import Authenticator, NotAllowed, Principal, Right, Role, Tokens, key_digest
from atelier.errors import Unauthenticated
from atelier.http.credentials import CrossSite, authenticate, cookie_name, known
from tests.lookups import Everybody, person

SECRET = "a secret of the tests, long enough to sign"
FAMILY = uuid.UUID("8a6e0804-2bd0-4672-b79d-d97027f9071a")
COOKIE = f"{FAMILY.hex}.secret"
KEY = "atk_" + "k" * 43


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET)


@pytest.fixture
def authenticator(tokens: Tokens) -> Authenticator:
    """Knows one cookie, of user 7, and one key, which reads pictures."""
    lookup = Everybody()
    cookie = Principal(7, str(FAMILY), roles={7: Role.OWNER}, via_cookie=True)
    lookup.cookies[tokens.digest("cookie", b"secret")] = cookie
    lookup.keys[key_digest(KEY)] = Principal(
        7, "key.1", key_id=1, rights=frozenset({Right.IMAGES_READ}), roles={7: Role.OWNER}
    )
    return Authenticator(tokens, lookup)


def scope(method: str = "GET", scheme: str = "http", **headers: str) -> dict[str, Any]:
    """A request with these headers, `_` written for `-`."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": method, "scheme": scheme, "headers": [(b"host", b"atelier.test"), *raw]}


async def test_a_cookie_names_its_user(authenticator: Authenticator) -> None:
    """Among other cookies, in one header or in several; and it is remembered."""
    asked = scope(cookie=f"theme=dark; atelier={COOKIE}; x=y")
    assert known(asked, authenticator) is None
    principal = await authenticate(asked, authenticator)
    assert (principal.user_id, principal.via_cookie) == (7, True)
    assert known(asked, authenticator) == principal
    asked["headers"] += [(b"cookie", b"another=1")]
    assert known(asked, authenticator) == principal


async def test_the_header_goes_before_the_cookie(
    authenticator: Authenticator, tokens: Tokens
) -> None:
    """A bad token is not mended by a good cookie, and a good one needs no page of ours."""
    cookie = f"atelier={COOKIE}"
    with pytest.raises(Unauthenticated):
        await authenticate(scope(cookie=cookie, authorization="Bearer rubbish"), authenticator)
    value = f"Bearer {tokens.issue(9, 's')}"
    asked = scope("POST", cookie=cookie, authorization=value)
    assert await authenticate(asked, authenticator) == person(9, "s")


@pytest.mark.parametrize(
    "cookie", ["", "atelier=", "atelier=x", f"atelier={COOKIE}x", f"other={COOKIE}", COOKIE]
)
async def test_another_cookie_is_none(authenticator: Authenticator, cookie: str) -> None:
    """The answer is a 401."""
    with pytest.raises(Unauthenticated):
        await authenticate(scope(cookie=cookie), authenticator)


async def test_under_https_only_the_name_that_no_other_host_can_set_counts(
    authenticator: Authenticator,
) -> None:
    """Another host of the domain could set the plain name."""
    assert cookie_name(scope(scheme="https")) == "__Host-atelier"
    with pytest.raises(Unauthenticated):
        await authenticate(scope(scheme="https", cookie=f"atelier={COOKIE}"), authenticator)
    whole = scope(scheme="https", cookie=f"__Host-atelier={COOKIE}")
    assert (await authenticate(whole, authenticator)).user_id == 7


OWN = {"sec_fetch_site": "same-origin"}
OURS = [OWN, {"origin": "http://atelier.test"}, OWN | {"origin": "null"}]
THEIRS = [
    {},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "none"},
    {"sec_fetch_site": "cross-site", "origin": "http://atelier.test"},
    {"origin": "null"},
    {"origin": "http://evil.test"},
    {"origin": "https://atelier.test"},
    {"origin": "http://atelier.test:81"},
    {"referer": "http://atelier.test/"},
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("headers", OURS)
async def test_a_page_of_ours_may_change_things(
    authenticator: Authenticator, method: str, headers: dict[str, str]
) -> None:
    """As browsers say it, or older ones by `Origin` alone."""
    asked = scope(method, cookie=f"atelier={COOKIE}", **headers)
    assert (await authenticate(asked, authenticator, Right.IMAGES_WRITE)).user_id == 7


@pytest.mark.parametrize("headers", THEIRS)
@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("POST", Right.IMAGES_WRITE),
        ("DELETE", None),
        ("GET", Right.TASKS_WORK),  # the specification's GET that takes a task
    ],
)
async def test_another_site_may_not(
    authenticator: Authenticator, method: str, right: Right | None, headers: dict[str, str]
) -> None:
    """The browser sends the cookie all the same, if an attribute of the cookie fails."""
    asked = scope(method, cookie=f"atelier={COOKIE}", **headers)
    with pytest.raises(CrossSite):
        await authenticate(asked, authenticator, right)


async def test_reading_needs_no_page_of_ours(authenticator: Authenticator) -> None:
    """A picture opened in a tab of its own is shown."""
    asked = scope(cookie=f"atelier={COOKIE}", sec_fetch_site="none")
    assert (await authenticate(asked, authenticator, Right.IMAGES_READ)).user_id == 7


async def test_a_key_does_only_what_its_rights_say(authenticator: Authenticator) -> None:
    """403 with the right that is missing."""
    asked = scope("POST", authorization=f"Bearer {KEY}")
    assert (await authenticate(asked, authenticator, Right.IMAGES_READ)).key_id == 1
    with pytest.raises(NotAllowed, match="images:write"):
        await authenticate(asked, authenticator, Right.IMAGES_WRITE)
