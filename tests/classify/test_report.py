"""The report's words: what to do about failures."""

from __future__ import annotations

import typing

import pytest

from atelier.classify.outcomes import OF_THE_FILE, Kind
from atelier.classify.report import KIND_WORDS, summary, text
from atelier.classify.stats import Totals

HOLDS = "failed for what the file holds"


def advice(failures: dict[str, int]) -> list[str]:
    """A report of such failures, after the name of their file."""
    totals = Totals()
    totals.failures = failures
    said = text(summary(totals, {"failures_file": "F"}))
    return said.partition("failures are listed in F")[2].splitlines()


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ({}, []),
        ({"remote_5xx": 2, "vanished": 1}, ["; try them again with --retry-failed"]),
        (
            {"damaged": 1, "not_an_image": 2},
            ["", f"3 {HOLDS} (damaged, not an image): no retry mends that, another file does"],
        ),
        (
            {"too_large": 1, "too_slow": 4},
            [
                "; --retry-failed may mend 4 of them",
                f"1 {HOLDS} (too large): no retry mends that, another file or a higher limit does",
            ],
        ),
    ],
)
def test_a_retry_is_advised_only_where_it_may_mend(
    failures: dict[str, int], said: list[str]
) -> None:
    """Failures of the service, the network and the disk are worth a retry.

    Those of the file are told apart.
    """
    assert advice(failures) == said


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "; the same command again adds pictures that have come since"),
        ({"pending": 3}, ""),
        ({"walking": True}, ""),
        (
            {"pending": 3, "interrupted": True},
            "; the same command goes on from here, --restart begins again",
        ),
    ],
)
def test_the_results_are_named_and_how_to_go_on(state: dict[str, int], said: str) -> None:
    """A report ends with the file of results; a run that has ended can be taken up again."""
    ended = {"found": 9, "pending": 0, "walking": False, "interrupted": False, "results_file": "R"}
    assert text(summary(Totals(), ended | state)).splitlines()[-1] == f"results are in R{said}"


def test_every_kind_has_words() -> None:
    """A report can name whatever a picture may fail of."""
    assert KIND_WORDS.keys() == set(typing.get_args(Kind)) >= OF_THE_FILE
