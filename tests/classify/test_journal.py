"""The journal survives a cut at any byte, a half-begun round of retries and an edited file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from atelier.classify.journal import Files, Journal, JournalError, Subject, discard, peek
from atelier.classify.lines import Lines
from atelier.classify.outcomes import Answer, Entry, Failed, Transformed, failure, path_of, result

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = Subject(b"/pictures", recursive=False, rotate=True, resize=True, shard=0, shards=1)
PICTURE = Transformed(b"jpeg", (1.5,))


def entry(n: int) -> Entry:
    return Entry(n, b"%d.jpg" % n, n + 1)


async def finish(journal: Journal, n: int, *, well: bool = True) -> None:
    if well:
        await journal.result(result(entry(n), PICTURE, Answer("cat", 0.5, 1000 + n, 1)))
    else:
        await journal.failure(failure(entry(n), Failed("damaged", "half of it")))


def pending(journal: Journal, count: int) -> list[int]:
    """Numbers that the source, begun at the journal's position, would still be asked for."""
    return [n for n in range(journal.resume_position.position, count) if journal.open(entry(n))]


async def test_what_is_written_is_done_without_a_checkpoint(tmp_path: Path) -> None:
    """Lines after the last checkpoint count when the journal is opened again, in any order."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    assert pending(journal, 10) == list(range(10))
    for n in (7, 0, 3):
        await finish(journal, n, well=n != 3)
    journal.close()  # as a kill does: without a checkpoint
    again = Journal(files, SUBJECT)
    assert pending(again, 10) == [1, 2, 4, 5, 6, 8, 9]
    assert (again.totals.classified, again.totals.failures) == (2, {"damaged": 1})
    again.close()


async def test_a_cut_at_any_byte_loses_the_torn_line_alone(tmp_path: Path) -> None:
    """Wherever the results end, whole lines count; a torn one is cut and made pending."""
    whole = Files(tmp_path / "whole.jsonl")
    journal = Journal(whole, SUBJECT)
    pending(journal, 4)
    for n in range(4):
        await finish(journal, n)
    journal.close()
    data = whole.results.read_bytes()
    for size in range(len(data) + 1):
        files = Files(tmp_path / "cut.jsonl")
        shutil.copytree(whole.folder, files.folder, dirs_exist_ok=True)
        shutil.copy(whole.failed, files.failed)
        files.results.write_bytes(data[:size])
        done = data[:size].count(b"\n")
        cut = Journal(files, SUBJECT)
        assert pending(cut, 4) == list(range(done, 4))
        assert cut.totals.classified == done
        await finish(cut, 3)
        cut.close()
        for line in files.results.read_bytes().splitlines():
            msgspec.json.decode(line)


async def test_checkpoints_stay_small_and_keep_what_is_ahead(tmp_path: Path) -> None:
    """A checkpoint lists what is done beyond the oldest pending picture, and the totals so far."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    pending(journal, 5000)
    for n in range(1, 5000):
        await finish(journal, n)
    await journal.checkpoint()
    assert journal.state.walk.ahead == [(1, 5000)]
    assert files.checkpoint.stat().st_size < 20_000
    journal.close()
    again = Journal(files, SUBJECT)
    assert pending(again, 5000) == [0]
    assert again.totals.elapsed_us.total == sum(1000 + n for n in range(1, 5000))
    again.close()


async def test_a_checkpoint_right_after_opening_forgets_nothing(tmp_path: Path) -> None:
    """Results ahead of the source stay recorded although it has not come to them again."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    pending(journal, 9)
    await finish(journal, 8)
    journal.close()
    for _ in range(3):
        Journal(files, SUBJECT).close()
    again = Journal(files, SUBJECT)
    assert pending(again, 9) == list(range(8))
    again.close()


async def test_retries_take_failures_back(tmp_path: Path) -> None:
    """A round is about the failures only.

    A picture that succeeds is no failure any more, nor after a kill.
    """
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    pending(journal, 3)
    for n in range(3):
        await finish(journal, n, well=n == 1)
    await journal.begin_round()
    await journal.enter("retry")
    retried = Entry(0, b"0.jpg", 1, "damaged")
    assert journal.open(retried)
    await journal.result(result(retried, PICTURE, Answer("cat", 0.5, 9, 1)))
    journal.close()
    again = Journal(files, SUBJECT)
    assert (again.totals.classified, again.totals.failures) == (2, {"damaged": 1})
    assert (again.state.phase, again.state.retrying) == ("retry", True)
    assert not again.open(retried)
    again.close()


async def test_a_round_begun_by_half_is_undone(tmp_path: Path) -> None:
    """A kill between moving the failures and recording it leaves the failures in place."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    pending(journal, 1)
    await finish(journal, 0, well=False)
    await journal.checkpoint()
    journal.close()
    data = files.failed.read_bytes()
    files.failed.replace(files.retried(1))
    files.failed.touch()
    again = Journal(files, SUBJECT)
    assert files.failed.read_bytes() == data
    assert again.totals.failed == 1
    again.close()


@pytest.mark.parametrize("damage", [b"", b'{"n":1}\n', None])
async def test_edited_results_are_refused(tmp_path: Path, damage: bytes | None) -> None:
    """Results that are shorter, other or edited before the checkpoint are an error."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    pending(journal, 2)
    await finish(journal, 0)
    await finish(journal, 1)
    await journal.checkpoint()
    journal.close()
    old = files.results.read_bytes()
    files.results.write_bytes(old.replace(b"cat", b"dog") if damage is None else damage)
    with pytest.raises(JournalError, match="not as the journal left it"):
        Journal(files, SUBJECT)
    files.results.write_bytes(old)
    Journal(files, SUBJECT).close()


async def test_a_journal_is_of_one_subject_and_one_run(tmp_path: Path) -> None:
    """Another directory or option, a concurrent run, and results without a journal are refused."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    with pytest.raises(JournalError, match="another run"):
        Journal(files, SUBJECT)
    with pytest.raises(JournalError, match="another run"):
        discard(files)
    pending(journal, 1)
    await finish(journal, 0)
    journal.close()
    with pytest.raises(JournalError, match="another rotate"):
        Journal(files, msgspec.structs.replace(SUBJECT, rotate=False))
    shutil.rmtree(files.folder)
    with pytest.raises(JournalError, match="has no journal"):
        Journal(files, SUBJECT)
    discard(files)
    Journal(files, SUBJECT).close()


async def test_peek_reads_a_run_that_goes_on(tmp_path: Path) -> None:
    """The report needs no lock, counts lines after the checkpoint and ignores a partial line."""
    files = Files(tmp_path / "out.jsonl")
    journal = Journal(files, SUBJECT)
    pending(journal, 2)
    await finish(journal, 0)
    with files.results.open("ab") as file:
        file.write(b'{"n":1,"pa')
    _, totals = peek(files)
    assert totals.classified == 1
    journal.close()


def test_names_that_are_not_text_survive() -> None:
    """A path that is not UTF-8 comes back byte by byte."""
    path = b"caf\xe9/\xff\n.jpg"
    line = failure(Entry(1, path, 2), Failed("unreadable"))
    assert path_of(msgspec.json.decode(msgspec.json.encode(line), type=type(line))) == path


async def test_mending_cuts_off_a_half_line_of_any_length(tmp_path: Path) -> None:
    """Mending cuts off what is behind the last line end, also in a file of one endless line."""
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 3_000_000)
    lines = Lines(path)
    lines.mend()
    assert path.stat().st_size == 0
    await lines.write(b"whole\n")
    with path.open("ab") as file:
        file.write(b"y" * 2_500_000)
    lines.close()
    lines = Lines(path)
    lines.mend()
    assert path.read_bytes() == b"whole\n"
    lines.close()
