"""Values as an operator writes them: sizes, a folder or bucket of blobs, a server, proxies."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

MIB = 1024 * 1024
S3 = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_PREFIX = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?")
PREFIX_CHARACTERS = 500  # with a key of 255 below the 1,024 that S3 takes


class Bucket(NamedTuple):
    """A store elsewhere: a bucket, and what every key in it begins with."""

    name: str
    prefix: str

    def __str__(self) -> str:
        return f"{S3}{self.name}/{self.prefix}".rstrip("/")


def store_place(text: str) -> Path | Bucket:
    """A folder, or a bucket where it is written `s3://bucket/prefix`.

    Raises ValueError, which says how to write it.
    """
    if not text.startswith(S3):
        if "://" in text:
            raise ValueError("should be a folder or s3://bucket/prefix")
        return Path(text).expanduser()
    name, _, prefix = text.removeprefix(S3).partition("/")
    prefix = prefix.rstrip("/")
    if not _BUCKET.fullmatch(name):
        raise ValueError(
            "should be s3://bucket/prefix: a bucket has 3 to 63 small letters, digits, dots and "
            "hyphens"
        )
    if len(prefix) > PREFIX_CHARACTERS or not _BUCKET_PREFIX.fullmatch(prefix):
        raise ValueError(
            "should be s3://bucket/prefix: a prefix has letters, digits and ._- between single "
            "slashes"
        )
    return Bucket(name, prefix)


def plain_endpoint(value: str) -> str:
    """The address of an S3 server, without a slash at its end.

    Raises ValueError, which says how to write it.
    """
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("should start with https:// or http:// and name a host")
    if "@" in parts.netloc or parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise ValueError(
            "should be a scheme, a host and a port only: keys go into s3_access_key and "
            "s3_secret_key"
        )
    return value.rstrip("/")


def plain_address(value: str) -> str:
    """The address of a web site, without a slash at its end.

    Raises ValueError, which says how to write it.
    """
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("should start with https:// or http:// and name a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("should be a scheme, a host, a port and a path only")
    return value.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def own_address(host: str, port: int) -> str:
    """The address at which a browser on this machine finds what listens on `host`."""
    host = host.strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """The same, once each is an address or a network. Raises ValueError for one that is not."""
    for network in value:
        try:
            ip_network(network)
        except ValueError:
            raise ValueError(
                f"{network!r} should be an address or a network such as 10.0.0.0/8"
            ) from None
    return value
