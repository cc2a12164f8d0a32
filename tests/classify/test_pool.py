"""The transforming processes: their answers, and the cost of a crash, a hang or much memory."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from atelier.classify import frames
from atelier.classify.outcomes import Entry, Failed, Transformed
from atelier.classify.pool import Pool, Work, WorkerFailed
from atelier.classify.worker import answer, read
from atelier.imaging.recipe import Limits
from atelier.imaging.transform import transform
from tests.classify.tool import photo
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable


def said(path: Path, *, most: int = 1 << 20, limits: Limits | None = None) -> Transformed | Failed:
    """A process's answer about a file."""
    raw = answer(os.fsencode(path), rotate=True, resize=True, limits=limits or Limits(), most=most)
    count, size = frames.REPLY.unpack_from(raw)
    assert len(raw) == frames.REPLY.size + size
    return frames.parse(count, raw[frames.REPLY.size :])


def test_an_answer_is_the_transformed_picture() -> None:
    """JPEG and magic number come over the wire exactly."""
    made = said(photo())
    assert isinstance(made, Transformed)
    assert (made.jpeg, made.magic) == transform(photo().read_bytes())


def truncated(folder: Path) -> Path:
    path = folder / "half.jpg"
    path.write_bytes(photo().read_bytes()[:-200])
    return path


def text(folder: Path) -> Path:
    path = folder / "text.jpg"
    path.write_text("not a picture")
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.jpg"
    path.touch()
    return path


def pipe(folder: Path) -> Path:
    path = folder / "pipe.jpg"
    os.mkfifo(path)
    return path


def loop(folder: Path) -> Path:
    path = folder / "loop.jpg"
    path.symlink_to(path)
    return path


def svg(folder: Path) -> Path:
    path = folder / "svg.jpg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    return path


def large(folder: Path) -> Path:
    path = folder / "large.png"
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((200, 300), np.uint8)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (truncated, "damaged"),
        (text, "not_an_image"),
        (empty, "not_an_image"),
        (svg, "not_an_image"),
        (pipe, "unreadable"),
        (loop, "unreadable"),
        (large, "too_large"),
        (lambda folder: folder / "none.jpg", "vanished"),
        (lambda folder: folder, "unreadable"),
    ],
)
def test_every_bad_file_is_a_failure_of_its_kind(
    tmp_path: Path, make: Callable[[Path], Path], kind: str
) -> None:
    """Nothing that a directory can hold raises: each is a failure with a kind and a reason."""
    failed = said(make(tmp_path), limits=Limits(pixels=50_000))
    assert isinstance(failed, Failed)
    assert (failed.kind, bool(failed.detail)) == (kind, True)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    """A file of a terabyte costs nothing."""
    path = tmp_path / "huge.jpg"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(Failed, match="too_large"):
        read(os.fsencode(path), 1 << 20)


class Errand:
    """Runs a pool of one process over files and keeps what it delivers."""

    def __init__(self, folder: Path, names: list[str], work: Work | None = None) -> None:
        self.entries = [Entry(n, os.fsencode(name), n + 1) for n, name in enumerate(names)]
        self.outcomes: dict[int, Transformed | Failed] = {}
        self.before: Callable[[], None] = lambda: None
        self.pool = Pool(
            work or Work(os.fsencode(folder), seconds=PATIENCE_SECONDS),
            self._next,
            self._now,
            self._deliver,
        )

    async def run(self) -> dict[int, Transformed | Failed]:
        """Have all of them done."""
        await self.pool.tend()
        return self.outcomes

    def _now(self) -> Entry | None:
        return self.entries.pop(0) if self.entries else None

    async def _next(self) -> Entry | None:
        return self._now()

    async def _deliver(self, entry: Entry, outcome: Transformed | Failed) -> None:
        assert entry.n not in self.outcomes
        self.outcomes[entry.n] = outcome
        self.before()


def kinds(outcomes: dict[int, Transformed | Failed]) -> list[str]:
    return [one.kind if isinstance(one, Failed) else "ok" for _, one in sorted(outcomes.items())]


def strike(number: int) -> None:
    """Send a signal to the transforming processes of this one."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for pid in children:
        if b"classify.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(int(pid), number)


async def test_a_crash_costs_one_picture(pictures: Path) -> None:
    """A process that dies takes the picture in its hand with it.

    Those behind are done by the next one.
    """
    errand = Errand(pictures, [f"{n:02}.jpg" for n in range(8)])
    errand.before = lambda: strike(signal.SIGSEGV) if len(errand.outcomes) == 3 else None
    found = kinds(await errand.run())
    assert len(found) == 8
    assert found.count("crashed") <= 1
    assert set(found) <= {"ok", "crashed"}


async def test_a_hang_costs_one_picture(pictures: Path) -> None:
    """A process that says nothing for too long is ended, and the next one goes on."""
    errand = Errand(
        pictures, [f"{n:02}.jpg" for n in range(8)], Work(os.fsencode(pictures), seconds=5.0)
    )
    errand.before = lambda: strike(signal.SIGSTOP) if len(errand.outcomes) == 3 else None
    found = kinds(await errand.run())
    assert len(found) == 8
    assert found.count("too_slow") == 1
    assert set(found) == {"ok", "too_slow"}


async def test_a_process_that_cannot_start_ends_the_run(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no process starts at all, that is an error of the run, not of a million pictures."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    errand = Errand(pictures, ["00.jpg"])
    with pytest.raises(WorkerFailed, match="exit status 1"):
        await errand.run()
    assert errand.outcomes == {}


async def test_a_hungry_picture_fails_alone(pictures: Path) -> None:
    """A picture that needs more memory than allowed fails without ending its process's work."""
    Image.new("RGB", (7000, 7000)).save(pictures / "black.png", compress_level=1)
    work = Work(os.fsencode(pictures), memory=32 << 20)
    found = kinds(await Errand(pictures, ["00.jpg", "black.png", "01.jpg"], work).run())
    assert found == ["ok", "too_large", "ok"]
