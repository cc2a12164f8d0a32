"""The SQL that finds whose a credential is, for every driver, and the principal of its row.

Each statement answers at most one row, of which nothing is left when the session, key or account
has ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from atelier.auth.principal import GRANTABLE, Principal, Right, Role

# The teams that a user is in, in the same order twice.
_TEAMS = """
    array(SELECT space_id FROM members WHERE user_id = u.id ORDER BY space_id) AS spaces,
    array(SELECT role FROM members WHERE user_id = u.id ORDER BY space_id) AS roles
"""
_OPEN = """
    f.revoked_at IS NULL AND u.disabled_at IS NULL
    AND (f.ends_at IS NULL OR f.ends_at > clock_timestamp())
"""
# The family of an access token, its user.
SESSION = f"""
    SELECT f.id::text AS session_id, u.id AS user_id, u.administrator, {_TEAMS}
    FROM refresh_families AS f JOIN users AS u ON u.id = f.user_id
    WHERE f.id = $1 AND f.user_id = $2 AND {_OPEN}
"""
# How many days a cookie lives unused, its family, the digest of its secret.
COOKIE = f"""
    UPDATE refresh_families AS f SET
        used_at = clock_timestamp(),
        expires_at = least(clock_timestamp() + make_interval(days => $1), f.ends_at)
    FROM users AS u
    WHERE f.id = $2 AND f.token_sha256 = $3 AND f.kind = 'cookie'
        AND u.id = f.user_id AND f.expires_at > clock_timestamp() AND {_OPEN}
    RETURNING f.id::text AS session_id, u.id AS user_id, u.administrator, {_TEAMS}
"""
# The digest of a key.
KEY = """
    UPDATE api_keys AS k SET used_at = clock_timestamp()
    FROM users AS u
    WHERE k.digest = $1 AND u.id = k.created_by AND u.disabled_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    RETURNING k.id AS key_id, u.id AS user_id, u.administrator, k.space_id, k.rights,
        extract(epoch FROM k.expires_at)::float8 AS expires,
        CASE WHEN k.space_id = u.id THEN 'owner' ELSE (
            SELECT role FROM members WHERE space_id = k.space_id AND user_id = u.id
        ) END AS role
"""


def percent(statement: str) -> str:
    """Return a statement with the parameters of psycopg, which come in the same order."""
    return re.sub(r"\$\d+", "%s", statement)


def person(row: Mapping[str, Any], *, via_cookie: bool = False) -> Principal:
    """Return the principal of a row of `SESSION` or `COOKIE`."""
    return Principal(
        row["user_id"],
        row["session_id"],
        administrator=row["administrator"],
        roles={row["user_id"]: Role.OWNER}
        | {
            space_id: Role(role)
            for space_id, role in zip(row["spaces"], row["roles"], strict=True)
        },
        via_cookie=via_cookie,
    )


def key(row: Mapping[str, Any]) -> Principal | None:
    """Return the principal of a row of `KEY`; None when its maker has left the space.

    Rights of a newer release are passed over.
    """
    if row["role"] is None:
        return None
    return Principal(
        row["user_id"],
        f"key.{row['key_id']}",
        administrator=row["administrator"],
        key_id=row["key_id"],
        rights=GRANTABLE & {Right(name) for name in row["rights"] if name in set(Right)},
        roles={row["space_id"]: Role(row["role"])},
    )
