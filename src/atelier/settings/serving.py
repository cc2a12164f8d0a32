"""The settings of what is served, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from atelier.settings.places import networks


class Serving(BaseSettings):
    """Where the servers listen, and whom they answer."""

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
