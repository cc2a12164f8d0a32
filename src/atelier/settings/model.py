"""Every setting: those of the modules beside this one, of processes and of logs.

`docs/reference/settings.md` is made from `Settings`; a test fails when the two part.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from atelier.settings import sources
from atelier.settings.engines import Engines
from atelier.settings.people import Admission, People
from atelier.settings.places import (
    Bucket,
    is_loopback,
    own_address,
    plain_endpoint,
    store_place,
)
from atelier.settings.serving import Serving
from atelier.settings.sources import PREFIX
from atelier.settings.work import Work

SECRET_BYTES = 32  # of HS256's key: the size of its digest
SCHEMES = {
    "database_url": ("postgresql", "postgres"),
    "migration_url": ("postgresql", "postgres"),
    "admin_url": ("postgresql", "postgres"),
    "redis_url": ("redis", "rediss", "unix"),
    "amqp_url": ("amqp", "amqps"),
    "otlp_url": ("http", "https"),
}
RoleName = Literal["api", "processor", "archiver", "relay", "grpc", "files", "migrate"]


class Settings(Work, People, Engines, Serving):
    """What an operator can choose.

    Sizes are in bytes and times in seconds unless the name says otherwise.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
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
    event_streams: int = Field(
        16,
        ge=1,
        le=1_000,
        description="Streams of `GET /api/events` that one user may have open at a process of the "
        "HTTP API.",
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

    @field_validator("sizes", "text_languages", "trusted_proxies", "allowed_hosts", mode="before")
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
