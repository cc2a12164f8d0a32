"""What exports of all slices have in common: how many run, the files' names, when they end.

Knows no table and no format.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from starlette.requests import Request

from atelier.auth import Principal, Right, require
from atelier.http.credentials import authenticate
from atelier.http.resources import Resources
from atelier.wire.places import Places

CHECK_SECONDS = 5.0  # between looks whether the caller may still see the space
EXPORTS_OF_PERSON = 2  # at a time, in one process: each keeps it busy
SLICE = 200  # lines written at once, in some milliseconds
NAME_CHARACTERS = 80  # of what is exported, in the name of a file
# No name of a file on Windows, whose rules are the strictest.
_NO_FILE_NAME = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|\s]+')
_open = Places("exports", each=EXPORTS_OF_PERSON)


def plain_name(text: str) -> str:
    """A text as it may stand in the name of a file, on any system; perhaps empty."""
    return _NO_FILE_NAME.sub("-", text)[:NAME_CHARACTERS].strip("-. ")


def filename(name: str, otherwise: str, ending: str) -> str:
    """The name of the file that an export is saved as: what it is, and the day."""
    return f"{plain_name(name) or otherwise}-{datetime.now(UTC):%Y-%m-%d}.{ending}"


async def placed(
    user: Principal, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The same, while the user has a place. Raises TooManyRequests."""
    async with aclosing(pieces):
        with _open.place(user.user_id):
            async for piece in pieces:
                yield piece


class Standing:
    """Whether a caller may still see what is being sent to them."""

    def __init__(self, request: Request, res: Resources, space_id: int, right: Right) -> None:
        self._scope, self._authenticator = request.scope, res.authenticator
        self._space_id, self._right = space_id, right
        self._checked = time.monotonic()

    async def check(self, missing: str) -> None:
        """Look now and then. Raises Unauthenticated, NotFound (`missing`) and NotAllowed."""
        if time.monotonic() > self._checked + CHECK_SECONDS:
            user = await authenticate(self._scope, self._authenticator, self._right)
            require(user, self._space_id, self._right, missing)
            self._checked = time.monotonic()
