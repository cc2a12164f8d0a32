"""The walk and its log give every picture once, whatever changes between two walks."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from atelier.classify import new_names, walklog
from atelier.classify.new_names import NewNames
from atelier.classify.walk import Walk, Walked
from atelier.classify.walklog import WalkLog, WalkLogError, WalkWriter

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = time.time() - 3600


class Walks:
    """Walks one directory into one log."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "pictures"
        self.root.mkdir()
        self.log = folder / "walk.log"
        self.bad: list[bytes] = []
        self.published = 0
        self.left_out = 0

    def walk(self, *, recursive: bool = True, shard: int = 0, shards: int = 1) -> list[bytes]:
        """Walk, and list what is in the log."""
        walked = Walked(os.fsencode(self.root), recursive, shard, shards)
        walk = Walk(walked, self.log, self._publish, lambda folder, _: self.bad.append(folder))
        walk.run()
        self.left_out = walk.left_out
        return self.paths()

    def paths(self) -> list[bytes]:
        """Entries in the log, as far as it is whole."""
        log = WalkLog(self.log)
        whole = itertools.takewhile(log.intact, log.frames())
        found = [path for frame in whole for path in log.paths(frame)]
        log.close()
        return found

    def settle(self) -> None:
        """Make all folders look as if nothing had happened in them lately."""
        for folder, _, _ in os.walk(self.root):
            os.utime(folder, (LONG_AGO, LONG_AGO))

    def _publish(self, count: int) -> None:
        self.published = count


@pytest.fixture
def walks(tmp_path: Path) -> Walks:
    return Walks(tmp_path)


def plant(folder: Path, *names: str | bytes) -> None:
    """Make empty files, with their folders."""
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pictures_are_found_by_their_names_in_any_case(walks: Walks) -> None:
    """JPEG and PNG under all their endings; nothing else, and no folder of such a name."""
    plant(
        walks.root,
        "a.jpg",
        "b.JPEG",
        "c.Png",
        "d.jfif",
        "e.gif",
        "f",
        ".jpg.txt",
        "g.jpe",
        "h.jpg/inner.txt",
    )
    assert sorted(walks.walk()) == [b"a.jpg", b"b.JPEG", b"c.Png", b"d.jfif", b"g.jpe"]


def test_folders_are_entered_only_when_asked(walks: Walks) -> None:
    """Without recursion only the directory itself counts."""
    plant(walks.root, "a.jpg", "sub/b.jpg", "sub/deeper/c.jpg")
    assert walks.walk(recursive=False) == [b"a.jpg"]
    walks.log.unlink()
    assert sorted(walks.walk()) == [b"a.jpg", b"sub/b.jpg", b"sub/deeper/c.jpg"]
    assert walks.left_out == 0


def test_folders_that_are_not_entered_are_counted(walks: Walks) -> None:
    """Folders of the directory count, links to some do not.

    The number outlives a walk that lists nothing again.
    """
    plant(walks.root, "a.jpg", "one/b.jpg", "two/deeper/c.jpg")
    (walks.root / "link").symlink_to("one")
    walks.settle()
    assert (walks.walk(recursive=False), walks.left_out) == ([b"a.jpg"], 2)
    assert (walks.walk(recursive=False), walks.left_out) == ([b"a.jpg"], 2)
    (walks.root / "three").mkdir()
    assert (walks.walk(recursive=False), walks.left_out) == ([b"a.jpg"], 3)


def test_a_later_walk_enters_what_was_left_out(walks: Walks) -> None:
    """Entries keep their numbers and folders follow, though the directory is unchanged."""
    plant(walks.root, "a.jpg", "sub/b.jpg", "sub/deeper/c.jpg")
    walks.settle()
    assert walks.walk(recursive=False) == [b"a.jpg"]
    assert walks.walk() == [b"a.jpg", b"sub/b.jpg", b"sub/deeper/c.jpg"]
    assert (walks.walk(), walks.left_out) == ([b"a.jpg", b"sub/b.jpg", b"sub/deeper/c.jpg"], 0)


def test_links_make_no_loop(walks: Walks) -> None:
    """A link to a file is a picture, one to a folder is not entered, a broken one is kept."""
    plant(walks.root, "a.jpg", "sub/b.jpg")
    (walks.root / "sub" / "up").symlink_to(walks.root)
    (walks.root / "self.jpg").symlink_to("self.jpg")
    (walks.root / "link.jpg").symlink_to("a.jpg")
    (walks.root / "folder.jpg").symlink_to("sub")
    os.mkfifo(walks.root / "pipe.jpg")
    assert sorted(walks.walk()) == [b"a.jpg", b"link.jpg", b"self.jpg", b"sub/b.jpg"]


def test_names_are_bytes(walks: Walks) -> None:
    """Names that are not UTF-8, with line ends or of 255 bytes are names like others."""
    names = [b"\xff\xfe.jpg", b"a\nb.jpg", b"x" * 251 + b".jpg", b"\xe9t\xe9/\x80.png"]
    plant(walks.root, *names)
    assert sorted(walks.walk()) == sorted(names)


def test_a_second_walk_adds_what_is_new_and_only_that(walks: Walks) -> None:
    """Numbers stay; new pictures and folders come behind; pictures that are gone stay numbered."""
    plant(walks.root, "a.jpg", "sub/b.jpg", "sub/c.jpg", "gone.jpg", "whole/d.jpg")
    first = walks.walk()
    plant(walks.root, "new.jpg", "sub/new.jpg", "fresh/deep/e.jpg")
    (walks.root / "gone.jpg").unlink()
    shutil.rmtree(walks.root / "whole")
    second = walks.walk()
    assert second[: len(first)] == first
    assert sorted(second[len(first) :]) == [b"fresh/deep/e.jpg", b"new.jpg", b"sub/new.jpg"]
    assert walks.walk() == second
    assert walks.bad == []


def test_unchanged_folders_are_not_listed_again(walks: Walks) -> None:
    """A folder whose time has not changed is trusted.

    Its change is seen, and then it is trusted again.
    """
    plant(walks.root, "a.jpg", "sub/b.jpg")
    walks.settle()
    assert len(walks.walk()) == 2
    plant(walks.root, "sub/unseen.jpg")
    os.utime(walks.root / "sub", (LONG_AGO, LONG_AGO))
    assert len(walks.walk()) == 2
    os.utime(walks.root / "sub", (LONG_AGO + 1, LONG_AGO + 1))
    assert len(walks.walk()) == 3
    plant(walks.root, "sub/again.jpg")
    os.utime(walks.root / "sub", (LONG_AGO + 1, LONG_AGO + 1))
    assert len(walks.walk()) == 3


def test_a_log_cut_at_any_byte_is_mended(walks: Walks, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a cut anywhere, the next walk has every picture once and keeps readable numbers."""
    monkeypatch.setattr(walklog, "FRAME_NAMES", 5)
    plant(walks.root, *(f"{n}.jpg" for n in range(12)), "s1/x/y.png")
    plant(walks.root, *(f"s{n}/{m}.jpg" for n in range(4) for m in range(4)))
    whole = sorted(walks.walk())
    plant(walks.root, "s2/late.jpg", "s5/later.jpg")
    whole = sorted(walks.walk())
    data = walks.log.read_bytes()
    for cut in range(0, len(data) + 1, 7):
        walks.log.write_bytes(data[:cut])
        before = walks.paths()
        found = walks.walk()
        assert sorted(found) == whole
        assert found[: len(before)] == before


def test_noise_at_the_end_is_cut_off_and_damage_is_not(walks: Walks) -> None:
    """A torn frame may hold anything.

    More of it than a crash can leave is damage, and an error.
    """
    plant(walks.root, "a.jpg")
    walks.walk()
    with walks.log.open("ab") as file:
        file.write(random.Random(1).randbytes(5000))
    assert walks.walk() == [b"a.jpg"]
    os.truncate(walks.log, walklog.TORN_MOST * 2)
    with pytest.raises(WalkLogError):
        WalkWriter(walks.log)


def test_shards_share_the_pictures(tmp_path: Path) -> None:
    """Every picture is in one shard, in any walk, and the shards are about equal."""
    walks = Walks(tmp_path)
    plant(walks.root, *(f"{n}.jpg" for n in range(300)), *(f"sub/{n}.png" for n in range(300)))
    shards = []
    for number in range(3):
        shards.append(walks.walk(shard=number, shards=3))
        walks.log.unlink()
    assert len({path for shard in shards for path in shard}) == sum(map(len, shards)) == 600
    assert min(map(len, shards)) > 140


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable_folders_are_told_and_tried_again(walks: Walks) -> None:
    """A folder that cannot be read is reported, and listed by a later walk that can."""
    plant(walks.root, "a.jpg", "sub/b.jpg")
    (walks.root / "sub").chmod(0)
    assert walks.walk() == [b"a.jpg"]
    assert walks.bad == [b"sub"]
    (walks.root / "sub").chmod(0o700)
    assert walks.walk() == [b"a.jpg", b"sub/b.jpg"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The walk of nothing ends and says so.

    When the directory is there (a mount came back), it is listed.
    """
    walks = Walks(tmp_path)
    walks.root.rmdir()
    assert walks.walk() == []
    assert walks.bad == [b""]
    plant(walks.root, "a.jpg")
    walks.settle()
    assert walks.walk() == [b"a.jpg"]


@pytest.mark.parametrize("spill", [10, 100_000])
def test_new_names_are_exact_in_memory_and_on_disk(
    tmp_path: Path, spill: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are listed and were not known are found once, in memory and on disk.

    Nothing stays on disk.
    """
    monkeypatch.setattr(new_names, "SPILL", spill)
    monkeypatch.setattr(new_names, "_BUFFER", 20)
    difference = NewNames(tmp_path)
    for n in range(0, 300, 2):
        difference.known(b"dir/%d" % n)
    for n in [*range(300), 7, 7]:
        difference.listed(b"dir/%d" % n)
    assert sorted(difference.new()) == sorted(b"dir/%d" % n for n in range(1, 300, 2))
    assert list(tmp_path.iterdir()) == []
