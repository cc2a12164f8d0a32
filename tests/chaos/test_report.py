"""The report of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos import report
from tests.chaos.campaign import Result
from tests.chaos.ledger import Thing
from tests.chaos.schedule import KILL, STOP

if TYPE_CHECKING:
    from pathlib import Path


def test_it_tells_kills_acknowledgements_answers_and_how_to_repeat() -> None:
    """Each victim with its kills, each operation with its answers, each fault, and the seed."""
    result = Result(seed=7, blows=["kill api", "stop api"], faults=["images/3 is lost"])
    result.struck.update({(KILL, "api"): 3, (STOP, "api"): 1})
    result.ledger.made(Thing("images", 3, "three"))
    result.ledger.answers.update({("upload to images", "201"): 1, ("upload to images", "503"): 4})
    lines = [" ".join(line.split()) for line in report.text(result).splitlines()]
    assert "api 3 1 0" in lines
    assert "images 1 made, 0 changes, 0 deleted" in lines
    assert "upload to images 201 x 1, 503 x 4" in lines
    assert lines[-3:] == ["1 faults", "- images/3 is lost", "repeat with: make chaos SEED=7"]


def test_errors_of_the_logs_are_counted_by_what_they_say(tmp_path: Path) -> None:
    """Whatever numbers are in them; lines that tell of no error are left out."""
    log = tmp_path / "api.log"
    log.write_text("T INFO fine\nT ERROR atelier [1] lost 17\nT ERROR atelier [2] lost 4\n")
    assert report.troubles(tmp_path) == ["     2 api: ERROR atelier [N] lost N"]
