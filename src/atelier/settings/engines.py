"""The settings of engines and of the store: what is set is used, what is not is started."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from atelier.settings.places import MIB


class Engines(BaseSettings):
    """Database, Redis, broker and store."""

    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL to use, `postgresql://...`; none: start an embedded one.",
    )
    migration_url: SecretStr | None = Field(
        None,
        description="The same PostgreSQL as the role that owns the tables, for `atelier migrate` "
        "and `atelier restore`: the role of `database_url` then need not own them, and gets the "
        "right to read and write rows; none: `database_url`.",
    )
    admin_url: SecretStr | None = Field(
        None,
        description="The same PostgreSQL as a superuser, or a role that may create roles, for "
        "`atelier provision` alone: it makes the roles of `database_url` and `migration_url`.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis or Valkey to use, `redis://...` or `unix://...`; none: start an "
        "embedded one.",
    )
    amqp_url: SecretStr | None = Field(
        None,
        description="RabbitMQ for the event bus, `amqp://...`; none: events travel on Redis "
        "Streams.",
    )
    blobs: str | None = Field(
        None,
        description="Where pictures and files are stored: a folder or `s3://bucket/prefix`; none: "
        "`blobs` in the data folder.",
    )
    s3_endpoint: str | None = Field(
        None,
        description="Address of an S3 server, `https://...`; none: AWS's, or what "
        "`AWS_ENDPOINT_URL` says.",
    )
    s3_region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]{1,64}$",
        description="Region of the bucket; none: `AWS_REGION`, then `us-east-1`.",
    )
    s3_access_key: SecretStr | None = Field(
        None,
        description="Access key of the bucket; none: `AWS_ACCESS_KEY_ID`, then the role of the "
        "container or machine.",
    )
    s3_secret_key: SecretStr | None = Field(
        None,
        validate_default=True,
        description="The access key's secret; set both or neither.",
    )
    postgres_bin: Path | None = Field(
        None,
        description="Folder with `postgres` and `initdb` for the embedded database; none: the "
        "wheel's, then PATH.",
    )
    user: str | None = Field(
        None,
        description="System user that everything runs as when `atelier up` is started as root, "
        "unless another owns the data folder; `root`: as root; none: `postgres_user`.",
    )
    postgres_user: str | None = Field(
        None,
        description="System user of the embedded database when Atelier runs as root; none: "
        "`postgres`, then `nobody`.",
    )
    valkey_bin: Path | None = Field(
        None,
        description="`valkey-server` or `redis-server` for the embedded queue; none: the wheel's, "
        "then PATH.",
    )
    valkey_memory: int | None = Field(
        None,
        ge=256 * MIB,
        description="Memory of the embedded Valkey for queues and cache, above which jobs wait in "
        "the database; none: a quarter of the machine's or container's, 256 MiB at least.",
    )
