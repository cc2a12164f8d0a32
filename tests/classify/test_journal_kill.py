"""A run that is killed repeatedly has every picture once in its results and exact totals."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.classify.tool import Tool, fill
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.classify.tool import Service

KILLS = 10


def kill_often(tool: Tool, url: str, count: int, *options: str) -> None:
    """Kill the run ten times, each time after about another twelfth of all pictures."""
    chance = random.Random(7)
    for _ in range(KILLS):
        tool.start(url, *options)
        before = lines(tool)
        goal = min(before + chance.randrange(1, count // 10), count - 1)
        until(
            lambda goal=goal: (
                lines(tool) >= goal or (tool.process and tool.process.poll() is not None)
            )
        )
        tool.kill()


def lines(tool: Tool) -> int:
    """How many pictures are done, cheaply."""
    failed = tool.output.with_name(tool.output.stem + ".failed.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in (tool.output, failed) if path.exists())


def assert_exact(tool: Tool, folder: Path, report: dict[str, Any]) -> None:
    """Each file of the folder is in one line; the report says what the lines say."""
    results, failures = tool.results(), tool.failures()
    names = sorted(line["path"] for line in results + failures)
    assert names == sorted(path.name for path in folder.iterdir())
    assert len({line["n"] for line in results + failures}) == len(names)
    assert report["classified"] == len(results)
    assert report["failed"] == len(failures)
    assert sum(report["classes"].values()) == len(results)
    times = [round(line["elapsed_ms"] * 1000) for line in results]
    measured = report["request_ms"]
    assert (measured["min"], measured["max"]) == (min(times) / 1000, max(times) / 1000)
    assert measured["avg"] == sum(times) / len(times) / 1000
    sizes = [line["size"] for line in results]
    assert report["jpeg_bytes"]["avg"] == sum(sizes) / len(sizes)


def test_ten_kills_repeat_and_skip_nothing(
    tmp_path: Path, start_service: Callable[..., Service]
) -> None:
    """After ten kill -9 with failures among the answers, each picture has one line."""
    service = start_service("--fail", "0.02", "--fail-status", "422", "--latency", "0.002")
    fill(tmp_path / "many", 3000)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    kill_often(tool, service.url, 3000, "--workers", "2")
    code, report = tool.run(service.url, "--workers", "2")
    assert code == 1
    assert_exact(tool, tmp_path / "many", report)
    assert report["failures"] == {"remote_4xx": len(tool.failures())}
    assert 3000 <= service.counts()["asked"] <= 3000 + KILLS * 64


def test_ten_kills_during_retries(tmp_path: Path, start_service: Callable[..., Service]) -> None:
    """Rounds of retries are exact, too: the failures shrink and no line is written twice."""
    service = start_service("--fail", "0.7", "--fail-status", "422", "--latency", "0.002")
    fill(tmp_path / "many", 1500)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    code, report = tool.run(service.url)
    assert (code, report["failed"]) == (1, len(tool.failures()))
    chance = random.Random(3)
    for _ in range(KILLS):
        tool.start(service.url, "--retry-failed")
        goal = len(tool.results()) + chance.randrange(1, 40)
        until(
            lambda goal=goal: (
                len(tool.results()) >= goal or (tool.process and tool.process.poll() is not None)
            )
        )
        tool.kill()
    code, report = tool.run(service.url)
    assert_exact(tool, tmp_path / "many", report)


@pytest.mark.slow
def test_a_hundred_thousand_pictures_and_ten_kills(tmp_path: Path, service: Service) -> None:
    """The same at scale, and each process stays small."""
    fill(tmp_path / "many", 100_000)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    kill_often(tool, service.url, 100_000)
    tool.start(service.url, "--json")
    most = 0
    assert tool.process
    while tool.process.poll() is None:
        most = max(most, memory(tool.process.pid))
    code, said = tool.finish()
    assert code == 0
    assert_exact(tool, tmp_path / "many", json.loads(said))
    assert most < 300 << 20


def memory(pid: int) -> int:
    """Bytes resident in a process and its children, shared ones counted each time."""
    total = 0
    pids = [pid]
    try:
        pids += [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
        for each in pids:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf(
                "SC_PAGESIZE"
            )
    except (OSError, IndexError):
        return total
    return total
