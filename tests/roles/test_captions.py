"""How the image processor draws captions: its own font, its size, and its warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atelier.images.jobs import recipe
from atelier.imaging import shaping
from atelier.imaging.coverage import BUNDLED_FONT
from atelier.roles.processor import Captions
from atelier.settings import Settings
from atelier.startup.fonts import require_font
from tests.imaging.fonts import called, collection

if TYPE_CHECKING:
    from pathlib import Path


def captions_of(**chosen: Any) -> Captions:
    """How a processor with these settings draws captions."""
    settings = Settings(**chosen)
    return Captions(settings, require_font(settings))


@pytest.mark.parametrize(
    ("api", "processor", "size"),
    [
        ({}, {}, 12),
        ({"caption_size": 20}, {}, 20),
        ({}, {"caption_size": 20}, 20),
        ({"caption_size": 16}, {"caption_size": 20}, 20),
        ({"caption_size": 16}, {"caption_size": 12}, 12),
    ],
)
def test_the_size_may_be_set_in_either_place(
    api: dict[str, int],
    processor: dict[str, int],
    size: int,
) -> None:
    """At the API, where jobs are made, or at the image processor, which has the last word."""
    job = recipe(Settings(**api), "a caption")
    assert captions_of(**processor).recipe(job).caption_size == size


def test_the_size_may_be_set_by_environment_or_file(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Both count as set."""
    monkeypatch.chdir(tmp_path)
    job = recipe(Settings(), "a caption")
    (tmp_path / "atelier.yaml").write_text("caption_size: 20\n")
    assert captions_of().recipe(job).caption_size == 20
    monkeypatch.setenv("ATELIER_CAPTION_SIZE", "24")
    assert captions_of().recipe(job).caption_size == 24


def test_the_font_need_be_set_at_the_processor_alone(tmp_path: Path) -> None:
    """The file, and the place in it, are those that the processor has found."""
    path = tmp_path / "fonts.ttc"
    path.write_bytes(collection(called("Atelier One"), called("Atelier Two")))
    made = captions_of(caption_font=str(path)).recipe(recipe(Settings(), "a caption"))
    assert (made.caption_font, made.caption_index) == (str(path), 0)


def test_a_font_that_only_the_api_has_is_complained_of_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The picture is drawn in the processor's own font; the log names both."""
    captions = captions_of()
    for _ in range(2):
        made = captions.recipe(recipe(Settings(caption_font="arial"), "a caption"))
        assert made.caption_font == str(BUNDLED_FONT)
    assert [record.getMessage() for record in caplog.records] == [
        f"the API's caption_font is arial; captions are in DejaVu Sans Book ({BUNDLED_FONT})"
    ]


@pytest.mark.parametrize("font", [None, "DejaVu Sans"])
def test_equal_settings_are_not_complained_of(
    font: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor is an API that is not told."""
    captions = captions_of(caption_font="DejaVu Sans")
    captions.recipe(recipe(Settings(caption_font=font), "a caption"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("caption", "complaint"),
    [
        ("Ваза, 3 см: ❤\ufe0f", False),
        ("first line\nsecond line", False),
        ("صورة 2024-05-17", True),
        ("שלום", True),
        ("e\u0301", True),
        ("é", False),
    ],
)
def test_a_caption_that_is_not_laid_out_is_named(
    caption: str,
    complaint: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without libfribidi, and only where it would have drawn something else."""
    monkeypatch.setattr(shaping, "shapes", lambda: False)
    expected = ["its caption is drawn letter by letter, left to right: libfribidi is missing"]
    assert list(captions_of().flaws(caption)) == (expected if complaint else [])


@pytest.mark.usefixtures("fribidi")
def test_a_caption_that_is_laid_out_has_no_flaw() -> None:
    """With the library there is nothing to say."""
    assert not list(captions_of().flaws("صورة 2024-05-17"))
