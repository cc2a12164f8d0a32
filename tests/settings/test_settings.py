"""Settings: their order, what they refuse, and what their errors never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from atelier.settings import Settings, SettingsError, load

PASSWORD = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no `atelier.yaml` is met by chance."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_command_line_beats_environment_beats_file_beats_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value comes from the strongest place that has it, and `sources` says which."""
    (folder / "atelier.yaml").write_text("port: 1\ngrpc_port: 2\nhost: file\n")
    monkeypatch.setenv("ATELIER_PORT", "3")
    monkeypatch.setenv("ATELIER_GRPC_PORT", "4")
    settings = load(port=5)
    assert (settings.port, settings.grpc_port, settings.host, settings.log_level) == (
        5,
        4,
        "file",
        "INFO",
    )
    sources = settings.sources()
    assert sources["port"] == "command line"
    assert sources["grpc_port"] == "environment (ATELIER_GRPC_PORT)"
    assert sources["host"] == "file (atelier.yaml)"
    assert sources["log_level"] == "default"
    assert sources.keys() == Settings.model_fields.keys()


def test_config_variable_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ATELIER_CONFIG` is read in place of `atelier.yaml`."""
    (folder / "other.yaml").write_text("port: 7\n")
    monkeypatch.setenv("ATELIER_CONFIG", str(folder / "other.yaml"))
    assert load().port == 7


def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass empty variables for what is not set."""
    monkeypatch.setenv("ATELIER_PORT", "")
    assert load().port == 8000
    assert load().sources()["port"] == "default"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ATELIER_PROT", "8000", "unknown environment variable ATELIER_PROT"),
        ("atelier_prot", "8000", "unknown environment variable atelier_prot"),
        ("ATELIER_PORT", "web", "ATELIER_PORT: should be a whole number"),
        ("ATELIER_PORT", "65536", "ATELIER_PORT: should be 65535 or less"),
        ("ATELIER_SECRET", "x" * 31, "ATELIER_SECRET: should have 32 bytes or more"),
        (
            "ATELIER_DATABASE_URL",
            f"mysql://u:{PASSWORD}@h/d",
            "ATELIER_DATABASE_URL: should start with postgresql://",
        ),
        (
            "ATELIER_REDIS_URL",
            f"http://:{PASSWORD}@h",
            "ATELIER_REDIS_URL: should start with redis://",
        ),
        ("ATELIER_AMQP_URL", f"u:{PASSWORD}@h", "ATELIER_AMQP_URL: should start with amqp://"),
        (
            "ATELIER_BLOBS",
            "gs://bucket",
            "ATELIER_BLOBS: should be a folder or s3://bucket/prefix",
        ),
        (
            "ATELIER_BLOBS",
            "s3://",
            "ATELIER_BLOBS: should be s3://bucket/prefix: a bucket has 3 to 63",
        ),
        (
            "ATELIER_BLOBS",
            "s3://Bucket",
            "ATELIER_BLOBS: should be s3://bucket/prefix: a bucket has 3 to 63",
        ),
        (
            "ATELIER_BLOBS",
            f"s3://u:{PASSWORD}@bucket",
            "ATELIER_BLOBS: should be s3://bucket/prefix: a bucket has 3",
        ),
        (
            "ATELIER_BLOBS",
            "s3://bucket/a//b",
            "ATELIER_BLOBS: should be s3://bucket/prefix: a prefix has letters",
        ),
        (
            "ATELIER_BLOBS",
            "s3://bucket/../b",
            "ATELIER_BLOBS: should be s3://bucket/prefix: a prefix has letters",
        ),
        (
            "ATELIER_BLOBS",
            "s3://bucket/" + "a" * 501,
            "ATELIER_BLOBS: should be s3://bucket/prefix: a prefix has",
        ),
        (
            "ATELIER_S3_ENDPOINT",
            "minio:9000",
            "ATELIER_S3_ENDPOINT: should start with https:// or http://",
        ),
        (
            "ATELIER_S3_ENDPOINT",
            f"http://u:{PASSWORD}@h",
            "ATELIER_S3_ENDPOINT: should be a scheme, a host and a port",
        ),
        (
            "ATELIER_S3_ENDPOINT",
            "http://h/bucket",
            "ATELIER_S3_ENDPOINT: should be a scheme, a host and a port",
        ),
        (
            "ATELIER_S3_REGION",
            "eu central",
            "ATELIER_S3_REGION: should be a region such as eu-central-1",
        ),
        (
            "ATELIER_S3_SECRET_KEY",
            PASSWORD,
            "ATELIER_S3_SECRET_KEY: belongs to s3_access_key: set both or neither",
        ),
        ("ATELIER_S3_ACCESS_KEY", PASSWORD, "belongs to s3_access_key: set both or neither"),
        ("ATELIER_SIZES", "100x100,big", "ATELIER_SIZES: should be sizes such as 100x100,500x500"),
        (
            "ATELIER_TRUSTED_PROXIES",
            "10.0.0.0/8,proxy",
            "'proxy' should be an address or a network",
        ),
        (
            "ATELIER_ACCEL_PREFIX",
            "_blobs",
            "ATELIER_ACCEL_PREFIX: should be a path such as /_blobs/",
        ),
        (
            "ATELIER_LOG_LEVEL",
            "LOUD",
            "ATELIER_LOG_LEVEL: should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        ),
        (
            "ATELIER_CONFIG",
            "/nowhere/atelier.yaml",
            "ATELIER_CONFIG names /nowhere/atelier.yaml, which is not a file",
        ),
    ],
)
def test_a_bad_variable_is_named(
    variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which variable is wrong and how, and never repeats a secret."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert words in caught.value.detail
    assert PASSWORD not in caught.value.detail
    assert "x" * 31 not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"pot: 3", "pot in atelier.yaml: is not a setting"),
        (b"port: web", "port in atelier.yaml: should be a whole number"),
        (b"secret: [", "atelier.yaml cannot be read as YAML settings: expected the node content"),
        (b"port: 8000.5", "port in atelier.yaml: should be a whole number"),
        (b"sizes: 5", "sizes in atelier.yaml: should be a list"),
        (
            b"sizes: [5x5, big, 0x0]",
            "sizes in atelier.yaml: should be sizes such as 100x100,500x500",
        ),
        (b"log_level: [INFO]", "log_level in atelier.yaml: should be 'DEBUG'"),
        (b"host: 5", "host in atelier.yaml: should be a text"),
        (b"data: 5", "data in atelier.yaml: should be a text"),
        (
            b"- hunter2-hunter2",
            "cannot be read as YAML settings: it should hold lines such as `port: 8000`",
        ),
        (
            b"hunter2-hunter2",
            "cannot be read as YAML settings: it should hold lines such as `port: 8000`",
        ),
        (
            b"12345678",
            "cannot be read as YAML settings: it should hold lines such as `port: 8000`",
        ),
        (b"secret: \xff", "cannot be read as YAML settings: it is not text in UTF-8"),
        (b"secret: \x01", "cannot be read as YAML settings: it is not text in UTF-8"),
    ],
)
def test_a_bad_file_is_named(text: bytes, words: str, folder: Path) -> None:
    """The error says which key of which file is wrong, and never repeats what the file says."""
    (folder / "atelier.yaml").write_bytes(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert words in caught.value.detail
    assert PASSWORD not in caught.value.detail


def test_a_bad_flag_is_named() -> None:
    """A value from the command line is called by its flag."""
    with pytest.raises(SettingsError, match=r"^--port: should be 0 or more$"):
        load(port=-1)


def test_variables_of_test_runs_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ATELIER_TEST_*` belongs to the tests."""
    monkeypatch.setenv("ATELIER_TEST_ANYTHING", "1")
    assert load()


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """`~` in a folder means the home, from a file or a compose variable too."""
    monkeypatch.setenv("HOME", str(folder))
    assert load(data="~/pictures").data == folder / "pictures"


def test_blobs_are_in_a_folder_or_a_bucket(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A path is a folder, beside which uploads are spooled.

    `s3://` is a bucket and a prefix, spooled for in `data`.
    """
    monkeypatch.setenv("HOME", str(folder))
    local = load(blobs="~/pictures")
    assert (local.store, local.incoming_folder) == (
        folder / "pictures",
        folder / "pictures" / ".incoming",
    )
    assert load().blobs_folder == load().data / "blobs"
    remote = load(blobs="s3://my.bucket/some/prefix/", data="d")
    assert (remote.store, remote.blobs) == (
        ("my.bucket", "some/prefix"),
        "s3://my.bucket/some/prefix",
    )
    assert (remote.blobs_folder, remote.incoming_folder) == (None, Path("d/incoming"))
    assert load(blobs="s3://bucket").store == ("bucket", "")


def test_sizes_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list fits in one variable."""
    monkeypatch.setenv("ATELIER_SIZES", "64x64, 800x600,")
    assert load().sizes == ("64x64", "800x600")
    monkeypatch.setenv("ATELIER_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    assert load().trusted_proxies == ("10.0.0.0/8", "::1")


def test_secrets_do_not_print() -> None:
    """The settings can be printed without giving passwords away."""
    assert PASSWORD not in repr(load(database_url=f"postgresql://u:{PASSWORD}@h/d"))
