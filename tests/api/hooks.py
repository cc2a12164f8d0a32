"""Schemathesis hooks: how to sign in, and how to read the security scheme."""

from __future__ import annotations

import itertools
import os
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx2
import schemathesis

if TYPE_CHECKING:
    from schemathesis import AuthContext, Case, HookContext

URL = os.environ["ATELIER_TEST_FUZZ_URL"]
PASSWORD = "correct horse battery"
ENDS_THE_SESSION = ["/api/auth/logout", "/api/users/{user_id}", "/user/{user_id}"]
LIFE_SECONDS = 36_000  # of the tokens of the instance that is tried
KEY = re.compile(r"[\x21-\x7e]{1,255}")
IGNORED = {"If-None-Match", "If-Modified-Since", "Range", "If-Range"}
people = itertools.count()


class Token:
    """The bearer token of a new user."""

    def get(self, _: Case, __: AuthContext) -> str:
        """Register and sign in."""
        email = f"fuzz-{os.getpid()}-{next(people)}@example.org"
        with httpx2.Client(base_url=URL, timeout=None) as client:
            client.post(
                "/api/users", json={"email": email, "password": PASSWORD}
            ).raise_for_status()
            answer = client.post("/api/auth/token", data={"username": email, "password": PASSWORD})
            token: str = answer.raise_for_status().json()["access_token"]
        return token

    def set(self, case: Case, data: str, _: AuthContext) -> None:
        """Put it where it belongs."""
        case.headers["Authorization"] = f"Bearer {data}"


# One user for everything, whose own records are found again; another one, replaced when a token is
# refused, for what ends a session.
schemathesis.auth(refresh_interval=LIFE_SECONDS, retry_on=[]).skip_for(path=ENDS_THE_SESSION)(
    Token
)
schemathesis.auth(refresh_interval=LIFE_SECONDS).apply_to(path=ENDS_THE_SESSION)(Token)


@schemathesis.hook
def before_load_schema(_: HookContext, raw_schema: dict[str, Any]) -> None:
    """Say `http bearer` for our `oauth2`: the check `ignored_auth` looks at such schemes alone.

    And that conditions of reads may be any text: one that is none is ignored, as RFC 9110 has it,
    and no error.
    """
    raw_schema["components"]["securitySchemes"]["bearer"] = {"type": "http", "scheme": "bearer"}
    for item in raw_schema["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in IGNORED:
                    parameter["schema"] = {"type": "string"}


@schemathesis.hook
def before_call(_: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Give each request a key of its own, since a key is for one content.

    Made-up requests would share made-up keys. An entity tag that is a number gets its quotes.
    Events are asked for in pages.
    """
    headers = case.headers or {}
    if case.operation.path == "/api/events":
        headers["Accept"] = "application/json"  # a stream has no end
    if KEY.fullmatch(str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if str(headers.get("If-Match", "")).isdecimal():
        headers["If-Match"] = f'"{headers["If-Match"]}"'
