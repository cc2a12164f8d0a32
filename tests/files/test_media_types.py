"""Nothing from inside a file becomes a header: media types come from tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.files.inspectors import Task, archive, detect, isobmff, office
from atelier.files.inspectors.media_types import UNKNOWN, served
from tests.files import samples

HEADER = re.compile(r"[a-z]+/[!-~]+")
ODF = "application/vnd.oasis.opendocument."


def named(mimetype: str) -> str:
    """The type of an archive that calls itself this."""
    data = samples.zipped({"mimetype": mimetype.encode()})
    return archive.inspect(Task("archive", "application/zip", 1), data).content_type


@pytest.mark.parametrize(
    "told",
    [
        "application/epub+zip, text/html",
        "application/epub+zip\r\nX-Evil: 1",
        "application/epub+zip; charset=utf-7",
        f"{ODF}text;text/html",
        f"{ODF}unheard-of",
        ODF,
        "text/html",
    ],
)
def test_what_an_archive_calls_itself_is_no_header(told: str) -> None:
    """An entry `mimetype` that is not in the table names nothing."""
    assert named(told) == "application/zip"


@pytest.mark.parametrize("told", [*office.NAMED, "application/epub+zip\n"])
def test_known_documents_are_known(told: str) -> None:
    """OpenDocument and EPUB name themselves."""
    assert named(told) == told.strip()


@given(st.text())
def test_only_types_are_served(told: str) -> None:
    """Whatever a row or an inspector says, what is sent is one type without parameters."""
    assert HEADER.fullmatch(served(told))
    assert "," not in served(told)
    assert ";" not in served(told)


def test_types_of_the_tables_are_served() -> None:
    """Every type that detection may choose is sent as it is."""
    tables = [
        *(found.content_type for _, found in detect.MAGIC),
        *(content_type for _, content_type in office.MAIN_PARTS.values()),
        *(found.content_type for found in isobmff.BRANDS.values()),
        *(found.content_type for found in isobmff.VAGUE.values()),
        *office.NAMED,
        *archive.TAR_TYPES.values(),
    ]
    assert [told for told in tables if served(told) != told] == []
    assert served("text/html, application/zip") == UNKNOWN
