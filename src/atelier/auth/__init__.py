"""Authentication and rights: tokens, passwords, credentials that are remembered, who may do what.

Knows no framework and no database: whose a credential is comes from a `Lookup` of the caller's.
"""

from atelier.auth.authenticator import (
    KEY_PREFIX,
    REMEMBER_SECONDS,
    Authenticator,
    Found,
    Lookup,
    cookie_digest,
    key_digest,
)
from atelier.auth.passwords import HASHERS, HASHERS_BACKLOG, Passwords
from atelier.auth.principal import (
    CHANGING,
    GRANTABLE,
    RIGHTS,
    NotAllowed,
    Principal,
    Right,
    Role,
    has,
    in_space,
    is_person,
    lacks,
    lacks_role,
    may,
    require,
    reserved,
    spaces_with,
)
from atelier.auth.tokens import (
    AUDIENCE,
    ISSUER,
    MAX_TOKEN_CHARACTERS,
    MAX_USER_ID,
    Claims,
    Tokens,
    key_id,
)

__all__ = [
    "AUDIENCE",
    "CHANGING",
    "GRANTABLE",
    "HASHERS",
    "HASHERS_BACKLOG",
    "ISSUER",
    "KEY_PREFIX",
    "MAX_TOKEN_CHARACTERS",
    "MAX_USER_ID",
    "REMEMBER_SECONDS",
    "RIGHTS",
    "Authenticator",
    "Claims",
    "Found",
    "Lookup",
    "NotAllowed",
    "Passwords",
    "Principal",
    "Right",
    "Role",
    "Tokens",
    "cookie_digest",
    "has",
    "in_space",
    "is_person",
    "key_digest",
    "key_id",
    "lacks",
    "lacks_role",
    "may",
    "require",
    "reserved",
    "spaces_with",
]
