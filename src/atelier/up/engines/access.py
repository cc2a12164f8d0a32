"""Two database roles: one owns the tables and migrates, the other reads and writes rows.

The statements serve the embedded PostgreSQL and, by `atelier provision`, any other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson

from atelier.disk import replace

OWNER, CLIENT = "atelier_owner", "atelier_app"
PASSWORD_BYTES = 32
# Stretching protects passwords that people choose. Ours are random, and each connection pays.
ITERATIONS = 64
SALT_BYTES = 16
# Only the socket exists, and nobody is believed for the user that he is: every role shares that.
AUTHENTICATION = "# Written by Atelier.\nlocal all all scram-sha-256\n"

_TRANSFER = """
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER %s %I.%I OWNER TO %I',
                      CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                   WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                      nspname, relname, {owner})
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
        WHERE nspname = {schema} AND relkind IN ('r', 'p', 'v', 'm', 'S')
          AND pg_get_userbyid(relowner) IN (current_user, {client})
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                          AND objid = c.oid AND deptype IN ('a', 'i', 'e'))
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, {owner})
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
        WHERE nspname = {schema} AND pg_get_userbyid(proowner) IN (current_user, {client})
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass
                          AND objid = p.oid AND deptype = 'e')
        UNION ALL
        SELECT format('ALTER TYPE %I.%I OWNER TO %I', nspname, typname, {owner})
        FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = typnamespace
        WHERE nspname = {schema} AND typtype IN ('e', 'd')
          AND pg_get_userbyid(typowner) IN (current_user, {client})
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass
                          AND objid = t.oid AND deptype = 'e')
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$
"""
_MAKE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {text}) THEN
        CREATE ROLE {name};
    END IF;
END
$$
"""


@dataclass(frozen=True)
class Member:
    """A database role, and its password as a statement may hold it: best a SCRAM verifier."""

    name: str
    password: str


def statements(owner: Member, client: Member, database: str, schema: str) -> list[str]:
    """Statements that make both roles and give the owner the database and what is in it.

    For a superuser, or a role that may create roles, in the database itself; again as often as
    wanted. What others own stays theirs. Each is one line, as PostgreSQL's single-user mode asks.
    """
    made = []
    for member in (owner, client):
        name, password = quoted(member.name), literal(member.password)
        made.append(_MAKE.format(text=literal(member.name), name=name))
        made.append(f"ALTER ROLE {name} LOGIN PASSWORD {password}")
    role, place = quoted(owner.name), quoted(schema)
    values = {"owner": owner.name, "client": client.name, "schema": schema}
    made += [
        f"GRANT {role} TO CURRENT_USER",  # who is no superuser may give it nothing else
        f"ALTER DATABASE {quoted(database)} OWNER TO {role}",
        f"REVOKE CREATE ON SCHEMA {place} FROM PUBLIC",
        f"GRANT USAGE, CREATE ON SCHEMA {place} TO {role}",
        _TRANSFER.format_map({name: literal(value) for name, value in values.items()}),
    ]
    return [" ".join(one.split()) for one in made]


def grants(client: str, schema: str) -> list[str]:
    """Statements by which the owner lets the other role use its tables, future ones included.

    Again as often as wanted. The migrations' own tables can be read only.
    """
    role, place = quoted(client), quoted(schema)
    rows, numbers = "SELECT, INSERT, UPDATE, DELETE", "SELECT, USAGE"
    defaults = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {place} GRANT"
    return [
        f"GRANT USAGE ON SCHEMA {place} TO {role}",
        f"GRANT {rows} ON ALL TABLES IN SCHEMA {place} TO {role}",
        f"GRANT {numbers} ON ALL SEQUENCES IN SCHEMA {place} TO {role}",
        f"{defaults} {rows} ON TABLES TO {role}",
        f"{defaults} {numbers} ON SEQUENCES TO {role}",
    ]


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def passwords(path: Path) -> dict[str, str] | None:
    """The kept passwords of both roles; None when there are none to be read."""
    try:
        kept = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return None
    names = {OWNER, CLIENT}
    return kept if isinstance(kept, dict) and kept.keys() >= names else None


def new_passwords() -> dict[str, str]:
    """Random passwords for both roles."""
    return {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in (OWNER, CLIENT)}


def keep_passwords(path: Path, chosen: dict[str, str]) -> None:
    """Write the passwords down for this user alone."""
    replace(path, orjson.dumps(chosen), mode=0o600)


def verifier(password: str) -> str:
    """The SCRAM-SHA-256 verifier of a random ASCII password (RFC 5803, as PostgreSQL keeps it)."""
    salt = os.urandom(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    texts = [base64.b64encode(part).decode("ascii") for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{texts[0]}${texts[1]}:{texts[2]}"
