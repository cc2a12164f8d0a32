"""Which process gets which confidential settings: one table for `atelier up` and the containers.

Everything else is no secret, and each process gets it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from atelier.settings.model import RoleName, Settings
from atelier.settings.sources import (
    CONFIG_VARIABLE,
    NO_FILE,
    PREFIX,
    TEST_PREFIX,
)

_STORE = ("s3_access_key", "s3_secret_key")
_ALL = ("otlp_url",)  # may hold a password; every process sends traces
NEEDS: Mapping[RoleName, tuple[str, ...]] = {
    "api": ("database_url", "redis_url", "amqp_url", "secret", *_STORE, *_ALL),
    "processor": ("redis_url", "amqp_url", *_STORE, *_ALL),
    "archiver": ("database_url", "redis_url", *_STORE, *_ALL),
    "relay": ("database_url", "redis_url", "amqp_url", *_STORE, *_ALL),
    "grpc": ("database_url", "redis_url", "amqp_url", "secret", *_ALL),
    "files": ("database_url", "redis_url", "amqp_url", *_STORE, *_ALL),
    "migrate": ("database_url", "migration_url", *_ALL),
}
# An operator's commands beside the roles of containers: backup, doctor, check, users.
OPERATOR = frozenset().union(*NEEDS.values())
# Variables of libraries that are confidential as a whole, and the setting that goes with them.
FOREIGN = {"AWS_": "s3_access_key", "PG": "database_url"}


def secrets_of(role: str, *, rabbitmq: bool) -> frozenset[str]:
    """The confidential settings that this process needs; those of no role of ours: none."""
    needs = frozenset(NEEDS.get(typing.cast("RoleName", role), ()))
    # Its jobs travel on RabbitMQ where there is one, and it uses no cache.
    return needs - {"redis_url"} if role == "files" and rabbitmq else needs


def needed(settings: Settings, role: str) -> dict[str, object]:
    """What was set, by any source, and this process needs."""
    withheld = confidential() - secrets_of(role, rabbitmq=settings.amqp_url is not None)
    return {name: getattr(settings, name) for name in sorted(settings.model_fields_set - withheld)}


def environment(
    settings: Settings, role: str, base: Mapping[str, str], more: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a process: what it needs of the settings, and nothing confidential else.

    `base` is ours. The file of settings is read by us alone; `more` are variables that win.
    """
    wanted = secrets_of(role, rabbitmq=settings.amqp_url is not None)
    hidden = tuple(prefix for prefix, setting in FOREIGN.items() if setting not in wanted)
    ours = {
        name: value
        for name, value in base.items()
        if not name.startswith(hidden)
        and (not name.upper().startswith(PREFIX) or name.upper().startswith(TEST_PREFIX))
    }
    chosen = {
        PREFIX + name.upper(): written(value) for name, value in needed(settings, role).items()
    }
    return ours | {CONFIG_VARIABLE: NO_FILE} | chosen | dict(more)


def written(value: object) -> str:
    """The value as the environment holds it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or ","  # an empty variable would mean the default
    if isinstance(value, Path):
        return str(value.absolute())
    return "" if value is None else str(value)


def confidential() -> frozenset[str]:
    """The settings that hold a secret, or may hold one."""
    return frozenset(
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in _parts(field.annotation)
    )


def _parts(annotation: object) -> tuple[object, ...]:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return typing.get_args(annotation)
    return (annotation,)
