"""Which process gets which confidential setting: one table, complete, and nothing else leaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from atelier.settings import Settings, load, needs

URLS = {
    "database_url": SecretStr("postgresql://app:p@h/d"),
    "migration_url": SecretStr("postgresql://owner:q@h/d"),
    "admin_url": SecretStr("postgresql://admin:r@h/d"),
    "redis_url": SecretStr("redis://:s@h/0"),
    "secret": SecretStr("x" * 40),
    "s3_access_key": SecretStr("key"),
    "s3_secret_key": SecretStr("secret"),
}


def given(role: str, settings: Settings, **base: str) -> dict[str, str]:
    """The variables that a role gets."""
    return needs.environment(settings, role, base, {})


def test_a_setting_that_no_role_needs_reaches_none() -> None:
    """The superuser's address is for one command; a new secret is nobody's until it is listed."""
    settings = Settings(**URLS)
    for role in [*needs.NEEDS, "stranger"]:
        assert "ATELIER_ADMIN_URL" not in given(role, settings)
    assert not any("URL" in name or "SECRET" in name for name in given("stranger", settings))


def test_the_processor_gets_neither_database_nor_secret() -> None:
    """What it renders is made by strangers."""
    assert (
        given("processor", Settings(**URLS)).keys()
        & {
            "ATELIER_DATABASE_URL",
            "ATELIER_MIGRATION_URL",
            "ATELIER_SECRET",
        }
        == set()
    )


def test_the_files_worker_needs_one_broker() -> None:
    """With RabbitMQ it has no address of Redis."""
    both = Settings(**URLS, amqp_url=SecretStr("amqp://h"))
    assert "ATELIER_REDIS_URL" not in given("files", both)
    assert "ATELIER_REDIS_URL" in given("files", Settings(**URLS))


def test_what_stands_in_our_environment_goes_by_the_table_too() -> None:
    """Our own variables, and those of the libraries for buckets and databases."""
    base = {"ATELIER_SECRET": "y", "AWS_SECRET_ACCESS_KEY": "z", "PGPASSWORD": "w", "PATH": "/bin"}
    assert given("grpc", Settings(), **base).keys() & base.keys() == {"PATH", "PGPASSWORD"}
    assert given("processor", Settings(), **base).keys() & base.keys() == {
        "PATH",
        "AWS_SECRET_ACCESS_KEY",
    }


def test_a_role_reads_the_same_values_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was set in the file, on the command line or by default is so in the role."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "atelier.yaml").write_text(
        "sizes: []\ntrusted_proxies: [10.0.0.0/8, 127.0.0.1]\nblobs: s3://bucket/a\nhost: '::1'\n"
        "secret: " + "x" * 40 + "\nlog_format: json\n"
    )
    settings = load(data=Path("folder"), port=0)
    for name, value in given("api", settings).items():
        monkeypatch.setenv(name, value)
    again = load()
    changed = {
        name for name in Settings.model_fields if getattr(again, name) != getattr(settings, name)
    }
    assert changed == {"data"}
    assert again.data == tmp_path / "folder"
