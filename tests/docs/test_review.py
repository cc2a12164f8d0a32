"""The review of the script: its pieces of code are one program that works, its table is true."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from atelier.imaging.magic import magic_number
from tests.classify.tool import Service, photo
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "discussions" / "review.md"
SCRIPT = PAGE.read_text(encoding="utf-8").partition("\n# Case 2")[0]
CODE = "\n\n".join(re.findall(r"^```python\n(.*?)^```$", SCRIPT, re.MULTILINE | re.DOTALL))
ROW = re.compile(r"^\| (\d+) x (\d+), (grey|colour) \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE)
AT_ONCE = """
import script
script.PASSING = script.PASSING.new(backoff_factor=0)
raise SystemExit(script.main())
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The program, as a module that is imported and as a file beside it."""
    path = tmp_path_factory.mktemp("review") / "script.py"
    path.write_text(CODE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("script", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["script"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """Start stand-ins of the service; they end with the test."""
    services: list[Service] = []

    def start(*options: str) -> Service:
        services.append(Service(*options))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures, and names that promise some and hold none."""
    made = tmp_path / "pictures"
    made.mkdir()
    for number, suffix in enumerate((".jpg", ".JPG", ".jpeg", ".Jpeg") * 2):
        shutil.copyfile(photo(), made / f"{number}{suffix}")
    Image.new("RGBA", (9, 1), (0, 0, 0, 0)).save(made / "clear.png")
    Image.new("L", (9, 1), 7).save(made / "grey.png")
    (made / "text.jpg").write_text("no picture")
    (made / "notes.txt").write_text("no picture")
    (made / "folder.jpg").mkdir()
    return made


def run(script: ModuleType, folder: Path, url: str) -> tuple[int, list[Any]]:
    """Run the program without pauses between tries; returns its exit code and its lines."""
    output = folder.with_suffix(".jsonl")
    given = ["--input-dir", str(folder), "--output", str(output), "--stats-url", f"{url}/stats"]
    ended = subprocess.run(
        [sys.executable, "-c", AT_ONCE, url, *given],
        cwd=Path(str(script.__file__)).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, [json.loads(line) for line in output.read_bytes().splitlines()]


def test_the_table_of_magic_numbers_is_true() -> None:
    """Each row holds the exact number, what this numpy makes of it, and the sum modulo 256."""
    bench = runpy.run_path(str(ROOT / "benchmarks" / "classify" / "magic_number.py"))
    rows = ROW.findall(SCRIPT)
    assert len(rows) == 2 * len(bench["SHAPES"])
    for height, width, kind, before, now, exact in rows:
        shape = (int(height), int(width)) + ((3,) if kind == "colour" else ())
        pixels = bench["picture"](*shape)
        number = bench["exact"](pixels)
        assert (now, exact) == (bench["attempted"](pixels), bench["shown"](number))
        count = int(height) * int(width)
        modulo = round(number * count) % 256 / count
        assert before == (exact if kind == "grey" else bench["shown"](modulo))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_mended_magic_number_is_that_of_atelier(script: ModuleType, channels: int) -> None:
    """The five lines and the fast way give the same numbers, to the last digit."""
    shape = (120, 161, 3) if channels == 3 else (120, 161)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert script.magic_number(pixels) == list(magic_number(pixels))


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("resize", [True, False])
def test_each_option_works_by_itself(script: ModuleType, *, rotate: bool, resize: bool) -> None:
    """All four combinations do what the two options say; no side vanishes."""
    made = script.prepared(Image.new("RGB", (9, 1)), rotate=rotate, resize=resize)
    size = (4, 1) if resize else (9, 1)
    assert made.size == (size[::-1] if rotate else size)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "I;16"])
def test_every_mode_becomes_a_jpeg(script: ModuleType, tmp_path: Path, mode: str) -> None:
    """The page's claim about each mode holds: Pillow refuses it or not, the mended code never."""
    refused = mode in {"RGBA", "LA", "P", "PA", "I", "I;16"}
    picture = Image.new(mode, (8, 8))
    with pytest.raises(OSError, match="cannot write mode") if refused else nullcontext():
        picture.save(tmp_path / "plain.jpg", format="JPEG")
    mended = script.prepared(picture, rotate=True, resize=True)
    mended.save(tmp_path / "mended.jpg", format="JPEG")


def test_sixteen_bits_are_divided_and_transparency_is_white(script: ModuleType) -> None:
    """The middle of 16 bits is the middle of 8; what cannot be seen is white."""
    middle = Image.fromarray(np.full((2, 2), 0x8000, np.uint16))
    assert script.opaque(middle).getpixel((0, 0)) == 128
    assert script.opaque(Image.new("LA", (2, 2), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_the_program_classifies_a_folder_and_goes_on(
    script: ModuleType, start_service: Callable[..., Service], folder: Path
) -> None:
    """A service that fails now and then costs no picture; a second run asks for nothing again."""
    service = start_service("--fail", "0.2")
    code, lines = run(script, folder, service.url)
    answered = [line["path"] for line in lines if "label" in line]
    assert (code, len(answered), len(set(answered))) == (1, 10, 10)
    assert [line["kind"] for line in lines if "kind" in line] == ["cannot be read"]
    assert service.counts()["stats"] == 10
    asked = service.counts()["asked"]
    (folder / "text.jpg").unlink()
    with folder.with_suffix(".jsonl").open("a") as output:
        output.write('{"path": "half')
    code, again = run(script, folder, service.url)
    assert (code, again, service.counts()["asked"]) == (0, lines, asked)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("--fail", "1", "--fail-status", "422"), "refused"),
        (("--fail", "1", "--fail-status", "503"), "refused"),
        (("--garbage", "1"), "bad answer"),
        ((), "no answer"),
    ],
)
def test_each_failure_has_its_kind(
    script: ModuleType,
    start_service: Callable[..., Service],
    folder: Path,
    options: tuple[str, ...],
    kind: str,
) -> None:
    """A refusal, an answer that is none and no answer are told apart; the exit code is 1."""
    service = start_service(*options)
    if not options:
        service.stop()
    code, lines = run(script, folder, service.url)
    kinds = sorted(line["kind"] for line in lines)
    assert (code, kinds) == (1, sorted(["cannot be read", *10 * [kind]]))


def test_no_more_than_two_items_a_thread_are_taken(script: ModuleType) -> None:
    """However long the input is, what has been taken and not yet given back is bounded."""
    taken = 0

    def paths() -> Iterator[str]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield str(number)

    given = set()
    for outcome in script.each(paths(), lambda path: path, 4):
        given.add(outcome)
        assert taken - len(given) <= 2 * 4 + 1
    assert len(given) == 500


def test_statistics_that_cannot_be_sent_are_counted(script: ModuleType) -> None:
    """A statistics service that is away neither stops nor breaks anything."""
    statistics = script.Statistics("http://127.0.0.1:1/stats")
    for number in range(700):
        statistics.tell(script.Answer(f"{number}.jpg", 0.03, "cat", 0.5, 10))
    statistics.close()
    assert (statistics.dropped, statistics.unsent) == (0, 700)
