"""Bearer tokens."""

from __future__ import annotations

import jwt
from django.conf import settings
from rest_framework import authentication, exceptions
from rest_framework.request import Request


class TokenAuthentication(authentication.BaseAuthentication):
    """A JSON Web Token."""

    def authenticate(self, request: Request) -> tuple[int, None]:
        """The user's id."""
        try:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            return int(
                jwt.decode(token, settings.SECRET_KEY, ["HS256"], audience="atelier-api")["sub"]
            ), None
        except (KeyError, jwt.PyJWTError) as error:
            raise exceptions.AuthenticationFailed from error
