"""A directory of pictures, a stand-in of the service as a real process, and the tool as one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.classify.tool import Service, Tool, photo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """Start stand-ins with any of their options; they end with the test."""
    services: list[Service] = []

    def start(*options: str) -> Service:
        services.append(Service(*options))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    """A stand-in that answers at once and always."""
    return start_service()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A directory of twelve small pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        shutil.copyfile(photo(), folder / f"{number:02}.jpg")
    return folder


@pytest.fixture
def tool(tmp_path: Path, pictures: Path) -> Iterator[Tool]:
    """The tool over those pictures."""
    made = Tool(pictures, tmp_path / "out.jsonl")
    yield made
    made.kill()
