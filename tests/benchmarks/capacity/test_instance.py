"""The command against a real instance: what it reports, what it leaves, how it is interrupted."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec
import orjson
import psycopg
import pytest

from benchmarks.capacity.cli import main
from benchmarks.capacity.results import Report
from tests.system.conftest import running
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.instance import Instance


ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow  # a benchmark's tool, and a minute and a half


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """An instance that this module's tests share."""
    with running() as instance:
        yield instance


def command(instance: Instance, output: Path, *words: str) -> subprocess.Popen[str]:
    """Start the tool."""
    arguments = ["instance", "--url", instance.url, "--output", str(output), "--json", *words]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.capacity", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")},
        cwd=ROOT,
    )


def until_first_trial(stream: IO[str]) -> Iterator[str]:
    """The tool's output until it has tried a rate."""
    for line in stream:
        yield line
        if "/s for " in line:
            return


def left(instance: Instance) -> dict[str, int]:
    """Rows of the throw-away user that are still there."""
    url = orjson.loads((instance.data / "engines.json").read_bytes())["database_url"]
    with psycopg.connect(url) as connection:
        tables = ("users", "images", "books", "tasks", "files")
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in tables
        }  # type: ignore[index]


def test_a_run_reports_and_leaves_nothing(instance: Instance, tmp_path: Path) -> None:
    """Every operation is measured, page and plots are written, and all that it made is gone."""
    names = ["upload", "books-write", "files", "files-list"]
    # On a busy machine the lowest rate, too, may be answered only after seconds.
    limits = ("--for", "20s", "--p95", "60s", "--ready", "120s")
    process = command(instance, tmp_path / "out", *limits, "--mix", ",".join(names))
    out, err = process.communicate(timeout=2 * PATIENCE_SECONDS)
    report = msgspec.json.decode(out, type=Report)
    assert [measured.name for measured in report.operations] == names
    all_held = all(
        measured.knee for measured in report.operations
    )  # not on a machine that has no time
    assert process.returncode == (0 if all_held else 1), err
    assert 0 < report.measuring_seconds < report.seconds
    for measured in report.operations:
        assert measured.trials
        for trial in measured.trials:
            assert trial.sent
            assert set(trial.statuses) <= {"200", "201", "204"}
        ET.parse(tmp_path / "out" / f"capacity-{measured.name}.svg")  # noqa: S314 - our own
    uploads = report.operations[0].trials[0]
    assert uploads.ready
    assert uploads.ready.per_second > 0
    assert {"api", "processor", "archiver", "postgres", "valkey"} <= set(report.machine.processes)
    assert sum(uploads.usage.cores.values()) > 0
    assert (tmp_path / "out" / "capacity.md").read_text().startswith("# What")
    assert left(instance) == dict.fromkeys(("users", "images", "books", "tasks", "files"), 0)


def test_an_interrupted_run_cleans_up(instance: Instance, tmp_path: Path) -> None:
    """Interrupted in a trial, it deletes what it made, and its exit code says so."""
    process = command(instance, tmp_path / "out", "--for", "60s", "--mix", "books-write")
    assert process.stderr
    said = list(until_first_trial(process.stderr))
    assert "WatchBooks" in said[0]
    assert said[-1].startswith("books-write"), "".join(said)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert set(left(instance).values()) == {0}


def test_an_interruption_while_signing_up_leaves_no_user(
    instance: Instance, tmp_path: Path
) -> None:
    """However early it is stopped, no user stays."""
    process = command(instance, tmp_path / "out", "--mix", "read")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode in (130, -signal.SIGTERM)
    assert left(instance)["users"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mix", "nonsense"), "nonsense"),
        (("--mix", ","), "at least one"),
        (("--for", "soon"), "no duration"),
        (("--for", "5s"), "need 30 s"),
        (("--url", "ftp://127.0.0.1"), "not an http"),
        (("--url", "http://192.0.2.1"), "--allow-remote"),
        (("--url", "http://127.0.0.1:1"), "nothing answers"),
        (("--picture", "none.jpg"), "does not exist"),
    ],
)
def test_errors_of_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    """A run that cannot begin is a clear message and exit code 2, before any request."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["capacity", "instance", *words])
    monkeypatch.setattr(gc, "freeze", lambda: None)  # it is for a process of its own
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
