"""Every setting, its default and its meaning.

`docs/reference/settings.md` is made from this class; a test fails when the two part.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from atelier.settings import sources
from atelier.settings.places import (
    Bucket,
    is_loopback,
    networks,
    own_address,
    plain_address,
    plain_endpoint,
    store_place,
)
from atelier.settings.sources import PREFIX

SECRET_BYTES = 32  # of HS256's key: the size of its digest
MIB = 1024 * 1024
SCHEMES = {
    "database_url": ("postgresql", "postgres"),
    "migration_url": ("postgresql", "postgres"),
    "admin_url": ("postgresql", "postgres"),
    "redis_url": ("redis", "rediss", "unix"),
    "amqp_url": ("amqp", "amqps"),
    "otlp_url": ("http", "https"),
}
Admission = Literal["open", "invited", "closed"]
RoleName = Literal["api", "processor", "archiver", "relay", "grpc", "files", "migrate"]
Size = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$")]


class Settings(BaseSettings):
    """What an operator can choose.

    Sizes are in bytes and times in seconds unless the name says otherwise.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    data: Path = Field(
        Path("data"),
        description="Folder of all that Atelier keeps on disk: engines, blobs, logs, the secret.",
    )
    host: str = Field("127.0.0.1", description="Address on which the HTTP API listens.")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="Port of the HTTP API; 0: any that is free.",
    )
    grpc_port: int = Field(
        50051,
        ge=0,
        le=65535,
        description="Port of the books gRPC service; 0: any that is free.",
    )

    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which each role answers `/metrics`, `/healthz` and `/readyz`; under "
        "`atelier up` the first of six in a row: processor, archiver, relay, grpc, files, api. "
        "None: only the API does, on its own port, where `/metrics` is no longer once this is "
        "set.",
    )

    trusted_proxies: Annotated[tuple[str, ...], NoDecode, AfterValidator(networks)] = Field(
        (),
        description="Addresses or networks of proxies before the HTTP API whose `X-Forwarded-For` "
        "and `X-Forwarded-Proto` are believed, separated by commas.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names by which the HTTP API may be called (the header `Host`, whatever the "
        "port), separated by commas: `atelier.example.org`, `*.example.org` for all below it, `*` "
        "for any; others are answered 421. None: where `host` is a loopback address, `localhost` "
        "and loopback addresses alone, so that no page of another site can reach an instance on "
        "its reader's machine; elsewhere any.",
    )
    client_connections: int = Field(
        512,
        ge=1,
        description="Connections that one client, an IPv4 address or an IPv6 network of 64 bits, "
        "may hold open to each process of the HTTP API; more are answered 429. A trusted proxy "
        "may hold any number.",
    )
    accel_prefix: str | None = Field(
        None,
        pattern=r"^/([A-Za-z0-9_-]+/)+$",
        description="Where an nginx before the HTTP API finds the folder of blobs, as an internal "
        "location such as `/_blobs/`: it then sends stored bytes once the API has allowed it "
        "(`X-Accel-Redirect`); none, or blobs in a bucket: the API does.",
    )

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

    secret: SecretStr | None = Field(
        None,
        description="Key that signs tokens, 32 bytes or more; none: `atelier up` makes one in the "
        "data folder.",
    )
    access_token_seconds: int = Field(900, ge=1, description="Life of an access token.")
    refresh_token_days: int = Field(30, ge=1, description="Life of a refresh token.")
    session_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Life of a session from its sign-in, however often it is refreshed.",
    )
    registration: Admission | None = Field(
        None,
        description="Who may make an account: everybody (`open`), who has an invitation "
        "(`invited`) or nobody (`closed`). Unless it is closed the very first account needs no "
        "invitation: it is the administrator. None: `open` while `host` is a loopback address, "
        "else `invited`.",
    )
    public_url: Annotated[str, AfterValidator(plain_address)] | None = Field(
        None,
        description="Address by which people reach the HTTP API, `https://atelier.example.org`, "
        "for links that are handed out; none: `http://host:port`.",
    )
    logins_per_minute: int = Field(
        5,
        ge=1,
        description="Failed logins a minute per address and client before 429.",
    )
    sign_ins_per_minute: int = Field(
        60,
        ge=1,
        description="Attempts a minute of one client network to sign in, right ones too, before "
        "429; as many to register, to change and to reset a password, ten times as many to "
        "refresh.",
    )

    body_limit: int = Field(50 * MIB, ge=1024, description="Largest request body.")
    upload_limit: int = Field(
        256,
        ge=1,
        description="Uploads that an API process receives at once; more are answered 503.",
    )
    space_limit: int = Field(
        100,
        ge=1,
        description="Spaces of teams that one person may own when they make another one.",
    )
    quota_objects: int | None = Field(
        None,
        ge=1,
        description="Pictures, tasks and files together that one space may keep, a person's "
        "own or a team's; none: any number.",
    )
    quota_bytes: int | None = Field(
        None,
        ge=1,
        description="Bytes that the pictures, tasks and files of one space may take together, as "
        "they were uploaded; renditions are not counted. None: any number.",
    )
    pixel_limit: int = Field(50_000_000, ge=1, description="Largest picture, width times height.")
    decode_seconds: int = Field(
        10,
        ge=1,
        description="Time one picture may take to decode and render.",
    )
    decode_memory: int = Field(
        1024 * MIB,
        ge=128 * MIB,
        description="Address space one decode may take, beyond the idle child's own.",
    )
    description_limit: int = Field(
        200,
        ge=1,
        le=10_000,
        description="Longest description, in Unicode characters after NFC.",
    )
    sizes: Annotated[tuple[Size, ...], NoDecode] = Field(
        ("100x100", "500x500"),
        description="Renditions made of every picture: it is fitted inside, never enlarged.",
    )
    caption_font: str | None = Field(
        None,
        description="Font of captions: the name of an installed font, such as `arial` or `DejaVu "
        "Sans Bold`, or the path of a font file. The image processor looks for it; its log and "
        "`atelier doctor` say which file was taken. None: the DejaVu Sans that comes with "
        "Atelier, which has Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew and Arabic "
        "letters, but no Chinese, Japanese, Korean, Thai or Indian ones, and of emoji little but "
        "faces. Signs that the font lacks are drawn as boxes; the image processor logs which.",
    )
    caption_size: int = Field(
        12,
        ge=4,
        le=256,
        description="Font size of captions, in pixels. That of the image processor counts, if it "
        "is set there, else that of the API.",
    )

    inline_limit: int = Field(
        MIB,
        ge=0,
        description="Largest picture that travels inside its job; larger ones go by blob key.",
    )
    queue_limit: int = Field(
        10_000,
        ge=1,
        description="Jobs waiting on one queue before uploads are answered 503.",
    )
    job_attempts: int = Field(
        4,
        ge=1,
        description="Deliveries of one job before it is a dead letter.",
    )
    reconcile_seconds: int = Field(
        30,
        ge=1,
        description="A row that is not final and has not moved for this long is offered again.",
    )
    outbox_retention_days: int = Field(
        7,
        ge=1,
        description="How long sent events stay in the outbox for replays.",
    )
    idempotency_hours: int = Field(
        24,
        ge=1,
        description="How long an Idempotency-Key replays its first answer.",
    )
    cache_seconds: int = Field(
        300,
        ge=1,
        description="How long a record or picture stays in the cache.",
    )
    cache_item_limit: int = Field(MIB, ge=0, description="Largest picture kept in the cache.")
    cache_bytes: int = Field(
        128 * MIB,
        ge=0,
        description="Memory of Redis that all processes together use as cache; half of Redis's "
        "`maxmemory` at most leaves room for the queues. 0: no cache.",
    )

    api_workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes of the HTTP API that share one port.",
    )
    grpc_workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes of the gRPC service that share one port.",
    )
    watch_limit: int = Field(
        16,
        ge=1,
        le=1_000,
        description="Streams of WatchBooks that one user may have open at a gRPC process.",
    )
    processor_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Pictures the image processor renders at once, each in its own sandboxed "
        "child.",
    )
    file_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Files that a files worker looks at at once, each in a process with a "
        "sandboxed child.",
    )
    otlp_url: SecretStr | None = Field(
        None,
        description="OpenTelemetry collector that gets traces by OTLP/HTTP, `http://host:4318`; "
        "none: no tracing.",
    )
    role: RoleName | None = Field(
        None,
        description="What runs with these settings, as each container image says: `atelier "
        "doctor` looks at what this role needs and at nothing else; none: at everything.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        description="Least severe log line that is written.",
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Form of log lines on console and in files; with `json` there is no start "
        "screen.",
    )

    _chosen: frozenset[str] = PrivateAttr(frozenset())  # names given on the command line

    @field_validator("data", "postgres_bin", "valkey_bin")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()

    @field_validator("caption_font", mode="before")
    @classmethod
    def _check_font(cls, value: object) -> object:
        if not isinstance(value, str | Path):
            return value
        text = str(value)  # not through Path: `./a.ttf` is a path, `a.ttf` may be a name
        return str(Path(text).expanduser()) if text.startswith("~") else text

    @field_validator("blobs", mode="before")
    @classmethod
    def _check_blobs(cls, value: object) -> object:
        return str(store_place(str(value))) if isinstance(value, str | Path) else value

    @field_validator("s3_endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        return value and plain_endpoint(value)

    @field_validator("s3_secret_key")
    @classmethod
    def _check_pair(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "s3_access_key" in info.data and (value is None) != (
            info.data["s3_access_key"] is None
        ):
            raise ValueError("belongs to s3_access_key: set both or neither")
        return value

    @field_validator(*SCHEMES)
    @classmethod
    def _check_scheme(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        schemes = SCHEMES[info.field_name or ""]
        if value and urlsplit(value.get_secret_value()).scheme not in schemes:
            raise ValueError(
                f"should start with {' or '.join(f'{scheme}://' for scheme in schemes)}"
            )
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value().encode()) < SECRET_BYTES:
            raise ValueError(f"should have {SECRET_BYTES} bytes or more")
        return value

    @field_validator("sizes", "trusted_proxies", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @property
    def store(self) -> Path | Bucket:
        """Where the blobs are."""
        return store_place(self.blobs) if self.blobs else self.data / "blobs"

    @property
    def blobs_folder(self) -> Path | None:
        """The folder of the blobs; None when they are in a bucket."""
        return self.store if isinstance(self.store, Path) else None

    @property
    def incoming_folder(self) -> Path:
        """Where uploads are spooled.

        On the file system of local blobs, so that to store one is a rename, not a copy.
        """
        return self.blobs_folder / ".incoming" if self.blobs_folder else self.data / "incoming"

    @property
    def admission(self) -> Admission:
        """Who may make an account."""
        return self.registration or ("open" if is_loopback(self.host) else "invited")

    @property
    def base_url(self) -> str:
        """The address of the HTTP API in links, without a slash at its end."""
        return self.public_url or own_address(self.host, self.port)

    @property
    def logs_folder(self) -> Path:
        """Where each role's log file lives."""
        return self.data / "logs"

    def sources(self) -> dict[str, str]:
        """Where each value came from, in the words of `sources.origins`."""
        return sources.origins(type(self), self._chosen)

    def spelled(self, name: str) -> str:
        """What to change where this value is wrong.

        `--data`, `data in atelier.yaml`, else `ATELIER_DATA`.
        """
        if name not in self._chosen and self.sources()[name] == "default":
            return f"{PREFIX}{name.upper()}"
        return sources.spelled(name, self._chosen)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over the YAML file."""
        return (
            init_settings,
            env_settings,
            YamlConfigSettingsSource(settings_cls, yaml_file=sources.config_file()),
        )
