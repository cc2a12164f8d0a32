"""`atelier classify` for its user: options, exit codes, signals, reports, outages, a full disk."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from atelier.imaging.transform import transform
from tests.classify.tool import Service, Tool, fill, photo
from tests.waiting import PATIENCE_SECONDS, gone, until

if TYPE_CHECKING:
    from collections.abc import Callable


def done(tool: Tool) -> int:
    """Result lines so far."""
    return tool.output.read_bytes().count(b"\n") if tool.output.exists() else 0


@pytest.mark.parametrize(
    "flags", [(), ("--no-rotate",), ("--no-resize",), ("--no-rotate", "--no-resize")]
)
def test_each_picture_is_sent_as_documented(
    tool: Tool, start_service: Callable[..., Service], flags: tuple[str, ...]
) -> None:
    """Rotated and halved unless told not to, either or both.

    The service hears what the lines say.
    """
    heard = tool.output.with_suffix(".heard")
    service = start_service("--log", str(heard))
    code, report = tool.run(service.url, *flags)
    assert (code, report["classified"], report["pending"]) == (0, 12, 0)
    jpeg, magic = transform(
        photo().read_bytes(), rotate="--no-rotate" not in flags, resize="--no-resize" not in flags
    )
    for line in tool.results():
        assert (line["magic"], line["size"]) == (list(magic), len(jpeg))
        assert {"n", "path", "class", "score", "elapsed_ms"} <= line.keys()
    query = "&".join(f"magic={value!r}" for value in magic)
    assert set(heard.read_text().splitlines()) == {f"{query} {len(jpeg)}"}


def test_grey_pictures_have_one_magic_number(tool: Tool, service: Service, pictures: Path) -> None:
    """`L` stays `L`: one value."""
    Image.new("L", (10, 10), 7).save(pictures / "grey.png")
    tool.run(service.url)
    grey = next(line for line in tool.results() if line["path"] == "grey.png")
    assert grey["magic"] == [7 * 15 * 15 / 25]


def test_an_empty_directory_is_done_at_once(tmp_path: Path, service: Service) -> None:
    """No pictures: exit code 0, a report of nothing, no division by zero."""
    (tmp_path / "empty").mkdir()
    tool = Tool(tmp_path / "empty", tmp_path / "out.jsonl")
    code, report = tool.run(service.url)
    assert (code, report["classified"], report["request_ms"]["avg"]) == (0, 0, None)
    tool.start(service.url, "--restart")
    assert tool.finish()[0] == 0


def test_folders_that_are_not_entered_are_told(
    tool: Tool, service: Service, pictures: Path
) -> None:
    """Every report adds up the shards, and `--recursive` continues the same results."""
    for number in range(12):
        (pictures / f"sub{number % 2}").mkdir(exist_ok=True)
        (pictures / f"{number:02}.jpg").rename(pictures / f"sub{number % 2}" / f"{number:02}.jpg")
    code, report = tool.run(service.url)
    assert (code, report["found"], report["folders_not_entered"]) == (0, 0, 2)
    shard = Tool(pictures, tool.output.with_name("shard.jsonl"))
    shard.start(service.url, "--shard", "1/2")
    assert "\n2 folders were not entered; --recursive enters them\n" in shard.finish()[1]
    command = [
        sys.executable,
        "-m",
        "atelier",
        "classify",
        "report",
        str(tool.output),
        str(shard.output),
    ]
    assert (
        "2 folders were not entered"
        in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    code, report = tool.run(service.url, "--recursive")
    assert (code, report["classified"], report["folders_not_entered"]) == (0, 12, 0)
    code, report = tool.run(service.url)
    assert (code, "another recursive (True, now False)" in report["stderr"]) == (2, True)


def test_errors_are_recorded_by_kind_and_the_run_goes_on(
    tool: Tool, service: Service, pictures: Path
) -> None:
    """Bad files, names of any bytes and vanished files are one line each, with exit code 1."""
    (pictures / "text.jpg").write_text("no picture")
    (pictures / "half.jpg").write_bytes(photo().read_bytes()[:-300])
    (pictures / "broken.jpg").symlink_to("nowhere")
    Image.new("L", (10_001, 10_000)).save(pictures / "large.png", compress_level=1)
    odd = b"caf\xe9\n.jpg"
    shutil.copy(photo(), os.path.join(os.fsencode(pictures), odd))  # noqa: PTH118 - a name of bytes
    code, report = tool.run(service.url)
    assert code == 1
    assert report["failures"] == {"damaged": 1, "not_an_image": 1, "too_large": 1, "vanished": 1}
    assert report["classified"] == 13
    strange = next(line for line in tool.results() if "path_bytes" in line)
    assert strange["path"] == "caf\ufffd\n.jpg"


def test_a_run_goes_on_with_what_is_new(tool: Tool, service: Service, pictures: Path) -> None:
    """A second run asks for nothing that is done, and for what has come since."""
    tool.run(service.url)
    code, report = tool.run(service.url)
    assert (code, service.counts()["asked"]) == (0, 12)
    shutil.copy(photo(), pictures / "new.jpg")
    code, report = tool.run(service.url)
    assert (report["classified"], service.counts()["asked"]) == (13, 13)
    assert len({line["path"] for line in tool.results()}) == 13


def test_restart_forgets(tool: Tool, service: Service) -> None:
    """`--restart` begins again without the earlier results."""
    tool.run(service.url)
    _code, report = tool.run(service.url, "--restart")
    assert (report["classified"], len(tool.results()), service.counts()["asked"]) == (12, 12, 24)


def test_failed_pictures_can_be_tried_again(
    tool: Tool, start_service: Callable[..., Service], pictures: Path
) -> None:
    """--retry-failed tries the failures alone; what succeeds is a failure no more."""
    (pictures / "text.jpg").write_text("no picture yet")
    bad = start_service("--fail", "0.5", "--fail-status", "422")
    code, report = tool.run(bad.url)
    failed = report["failed"]
    assert code == 1
    assert failed > 1
    good = start_service()
    code, report = tool.run(good.url)
    assert (code, good.counts()["asked"]) == (1, 0)
    code, report = tool.run(good.url, "--retry-failed")
    assert (code, report["failures"], good.counts()["asked"]) == (
        1,
        {"not_an_image": 1},
        failed - 1,
    )
    shutil.copy(photo(), pictures / "text.jpg")
    code, report = tool.run(good.url, "--retry-failed")
    assert (code, report["failures"], report["classified"]) == (0, {}, 13)
    assert len({line["path"] for line in tool.results()}) == len(tool.results()) == 13
    assert tool.failures() == []


def test_shards_merge_into_one_report(tmp_path: Path, service: Service) -> None:
    """Three shards do every picture once; their reports add up, exactly."""
    fill(tmp_path / "many", 200)
    tools = [Tool(tmp_path / "many", tmp_path / f"shard{n}.jsonl") for n in range(3)]
    for n, tool in enumerate(tools, 1):
        tool.run(service.url, "--shard", f"{n}/3")
    lines = [line for tool in tools for line in tool.results()]
    assert len({line["path"] for line in lines}) == len(lines) == 200
    outputs = [str(tool.output) for tool in tools]
    command = [sys.executable, "-m", "atelier", "classify", "report", *outputs]
    report = json.loads(
        subprocess.run([*command, "--json"], check=True, capture_output=True).stdout
    )
    assert report["classified"] == 200
    times = [round(line["elapsed_ms"] * 1000) for line in lines]
    assert report["request_ms"]["avg"] == sum(times) / 200 / 1000
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert text.startswith("classified 200, failed 0")


def test_one_interrupt_drains(tmp_path: Path, start_service: Callable[..., Service]) -> None:
    """After SIGINT nothing new begins, requests finish, the report is printed; the code is 130."""
    service = start_service("--latency", "0.05")
    fill(tmp_path / "many", 2000)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    process = tool.start(service.url, "--json", "--concurrency", "4")
    until(lambda: done(tool) > 20)
    process.send_signal(signal.SIGINT)
    code, said = tool.finish()
    report = json.loads(said)
    assert code == 130
    assert report["interrupted"]
    assert report["classified"] == len(tool.results()) == service.counts()["asked"] < 2000
    assert report["pending"] == report["found"] - report["classified"]


def test_two_interrupts_stop_at_once(
    tmp_path: Path, start_service: Callable[..., Service]
) -> None:
    """A second SIGINT does not wait for answers; what was written is kept."""
    service = start_service("--latency", "3600")
    fill(tmp_path / "many", 50)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    process = tool.start(service.url, "--timeout", "7200")
    until(lambda: service.counts()["asked"])
    process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in tool.errors())
    process.send_signal(signal.SIGINT)
    assert tool.finish()[0] == 130
    quick = start_service()
    code, report = tool.run(quick.url)
    assert (code, report["classified"]) == (0, 50)


def test_sigusr1_prints_the_report_so_far(
    tmp_path: Path, start_service: Callable[..., Service]
) -> None:
    """SIGUSR1 reports on standard error and the run goes on."""
    service = start_service("--latency", "0.1")
    fill(tmp_path / "many", 300)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    process = tool.start(service.url, "--log-every", "0.1", "--concurrency", "4")
    until(lambda: done(tool) > 5)
    process.send_signal(signal.SIGUSR1)
    code, said = tool.finish()
    assert code == 0, said + tool.errors()
    assert f"results are in {tool.output}" in said
    assert "still to do" in tool.errors()
    assert "files/s" in tool.errors()
    assert len(tool.results()) == 300


def test_a_service_that_dies_and_comes_back_costs_nothing(
    tmp_path: Path, start_service: Callable[..., Service]
) -> None:
    """While the service is away the run waits, says so, and fails no picture."""
    service = start_service("--latency", "0.2")
    fill(tmp_path / "many", 400)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    tool.start(service.url, "--json", "--concurrency", "12")
    until(lambda: done(tool) > 50)
    service.stop()
    until(lambda: "the service is down" in tool.errors())
    again = Service(port=service.port)
    try:
        code, said = tool.finish()
    finally:
        again.stop()
    assert (code, json.loads(said)["classified"]) == (0, 400)
    assert "the service is back" in tool.errors()


def test_errors_and_garbage_are_tried_again(
    tool: Tool, start_service: Callable[..., Service]
) -> None:
    """A service that sometimes fails or answers nonsense is retried, and no picture is lost."""
    service = start_service("--fail", "0.15", "--garbage", "0.1")
    code, report = tool.run(service.url, "--tries", "20", "--concurrency", "4")
    assert (code, report["classified"]) == (0, 12)
    assert service.counts()["asked"] > 12


def test_a_service_that_answers_wrongly_ends_the_run(
    tool: Tool, start_service: Callable[..., Service]
) -> None:
    """Code 3, what is wrong, and nothing is lost: the same command goes on."""
    wrong = start_service("--garbage", "1")
    options = ("--tries", "100", "--wrong-answers", "1")
    code, report = tool.run(wrong.url, *options)
    assert (code, report["pending"], report["failed"]) == (3, 12, 0)
    assert report["given_up"].startswith("not JSON")
    code, report = tool.run(start_service().url, *options)
    assert (code, report["classified"], report["given_up"]) == (0, 12, None)


def test_statistics_go_beside_the_run(tool: Tool, start_service: Callable[..., Service]) -> None:
    """Every answer is reported to the statistics service, in batches.

    When that fails, only the report says so.
    """
    service = start_service()
    code, report = tool.run(service.url, "--stats-url", f"{service.url}/stats")
    assert (code, report["stats"], service.counts()["stats"]) == (
        0,
        {"sent": 12, "lost": 0, "error": ""},
        12,
    )
    broken = start_service("--stats-fail")
    code, report = tool.run(service.url, "--stats-url", f"{broken.url}/stats", "--restart")
    assert (code, report["stats"]) == (0, {"sent": 0, "lost": 12, "error": "status 500"})
    assert report["classified"] == 12


def test_a_batch_under_way_at_the_end_is_posted_once(
    tool: Tool, start_service: Callable[..., Service], pictures: Path
) -> None:
    """A statistics service still busy with a batch when the last picture is done gets it once."""
    fill(pictures, 24)
    service, stats = start_service("--latency", "0.2"), start_service("--stats-latency", "5")
    options = ("--concurrency", "2", "--stats-url", f"{stats.url}/stats")
    code, report = tool.run(service.url, *options)
    assert (code, report["stats"]) == (0, {"sent": 36, "lost": 0, "error": ""})
    assert stats.counts()["stats"] == 36


def test_a_full_disk_pauses_the_run(tmp_path: Path, service: Service) -> None:
    """When there is no room the run waits and says so.

    When there is, it goes on where it was, line by line.
    """
    fill(tmp_path / "many", 600)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    process = tool.start(service.url, "--json")
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (30_001, hard))
    until(lambda: "no room to write" in tool.errors())
    stuck = len(tool.results())
    assert 0 < stuck < 600
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    code, said = tool.finish()
    assert (code, json.loads(said)["classified"]) == (0, 600)
    assert len({line["path"] for line in tool.results()}) == 600
    assert "there is room again" in tool.errors()


def test_nothing_outlives_a_kill(tmp_path: Path, start_service: Callable[..., Service]) -> None:
    """Killed with -9, the run leaves no process behind."""
    service = start_service("--latency", "0.2")
    fill(tmp_path / "many", 500)
    tool = Tool(tmp_path / "many", tmp_path / "out.jsonl")
    process = tool.start(service.url, "--workers", "2")
    until(lambda: done(tool) > 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    tool.kill()
    gone(*map(int, children))


def on_terminal(tool: Tool, url: str, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the tool with standard error on a terminal; returns both."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "atelier", "classify", tool.folder, url]
    process = subprocess.Popen(
        [*command, *options, "--output", str(tool.output)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "150"},
    )
    os.close(theirs)
    return process, ours


def shown(terminal: int, *, until: bytes = b"\0") -> bytes:
    """A terminal's output up to some words, or until its last user ends."""
    seen = b""
    with suppress(OSError):  # the terminal is gone with its last user
        while until not in seen and (block := os.read(terminal, 65536)):
            seen += block
    return seen


def test_a_terminal_gets_a_bar(tool: Tool, start_service: Callable[..., Service]) -> None:
    """On a terminal there is a bar with done, rate and failures, and it is gone at the end."""
    service = start_service("--latency", "0.1")
    process, terminal = on_terminal(tool, service.url, "--concurrency", "1")
    seen = shown(terminal)
    os.close(terminal)
    said, _ = process.communicate()
    assert b"classified 12" in said
    assert b"files/s" in seen
    assert b"of 12" in seen


def test_a_terminal_shows_a_level_once(tool: Tool, start_service: Callable[..., Service]) -> None:
    """A warning above the bar is its time, its level and its message, each once."""
    service = start_service("--latency", "3600")
    process, terminal = on_terminal(tool, service.url)
    until(lambda: service.counts()["asked"])
    process.send_signal(signal.SIGINT)
    seen = shown(terminal, until=b"in hand")
    process.kill()
    process.communicate()
    os.close(terminal)
    line = re.sub(rb"\x1b\[[\d;]*m", b"", seen[seen.rindex(b"WARNING") :])
    assert re.match(rb"WARNING +stopping after what is in hand", line)
    assert seen.count(b"WARNING") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere", "http://127.0.0.1:1"], "nowhere"),
        (["{pictures}"], "URL"),
        (["{pictures}", "ftp://host"], "ftp://host"),
        (["{pictures}", "http://127.0.0.1:1", "--shard", "3/2"], "I/N"),
        (["{pictures}", "http://127.0.0.1:1", "--header", "nonsense"], "header"),
        (["{pictures}", "http://127.0.0.1:1", "--stats-url", "nonsense"], "nonsense"),
        (["{pictures}", "http://127.0.0.1:1", "--workers", "0"], "workers"),
        (
            ["{pictures}", "http://127.0.0.1:1", "--output", "/no/such/folder/out.jsonl"],
            "/no/such/folder",
        ),
        (["report", "none.jsonl"], "none.jsonl"),
    ],
)
def test_errors_of_use_are_one_message_and_code_2(
    pictures: Path, arguments: list[str], complaint: str
) -> None:
    """A run that cannot begin ends with exit code 2 and a reason, without a traceback."""
    command = [
        sys.executable,
        "-m",
        "atelier",
        "classify",
        *(text.format(pictures=pictures) for text in arguments),
    ]
    wide = os.environ | {"COLUMNS": "200"}
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=pictures,
        env=wide,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_another_run_of_the_same_results_is_refused(
    tool: Tool, start_service: Callable[..., Service]
) -> None:
    """Two runs never write the same results; nor do runs of different options."""
    slow = start_service("--latency", "3600")
    process = tool.start(slow.url)
    until(lambda: slow.counts()["asked"])
    command = [*process.args, "--restart"]  # type: ignore[misc] # a list, as it was given
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (second.returncode, "another run" in second.stderr) == (2, True)
    tool.kill()
    code, said = tool.run(slow.url, "--no-rotate")
    assert (code, "rotate" in said["stderr"]) == (2, True)


def test_help_loads_no_decoder() -> None:
    """`atelier classify --help` pays for no imaging library, no database and no HTTP client."""
    program = (
        "import sys; from atelier.classify.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'cv2', 'numpy', 'PIL', 'sqlalchemy', 'celery', 'httptools', 'asyncpg', "
        "'fastapi'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "--retry-failed" in ended.stdout
    assert ended.stderr.strip() == ""
