"""compose.yaml and .env.example: what an operator sets reaches every container that needs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.test_dockerfiles import CAPTIONS, ROLES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
VARIABLE = re.compile(r"\$\{(ATELIER_\w+)")


def mounted(service: str) -> dict[str, str]:
    """The mounts of a service, by their place in the container."""
    volumes = SERVICES[service].get("volumes", ())
    mounts = (re.sub(r":ro$", "", mount).rpartition(":") for mount in volumes)
    return {place: source for source, _, place in mounts}


def test_every_variable_of_the_example_is_used() -> None:
    """Nothing stands in .env.example that Compose would ignore."""
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#?(ATELIER_\w+)=", example, re.MULTILINE))
    assert named
    assert named <= set(VARIABLE.findall(TEXT))
    assert {"ATELIER_BLOBS_FOLDER", "ATELIER_FONTS"} <= named
    assert {"ATELIER_CAPTION_FONT", "ATELIER_CAPTION_SIZE"} <= named


@pytest.mark.parametrize("role", ROLES)
def test_font_and_size_of_captions_reach_every_role(role: str) -> None:
    """The role that makes a job and the one that draws it have the same."""
    environment = SERVICES[role]["environment"]
    assert environment["ATELIER_CAPTION_FONT"] == "${ATELIER_CAPTION_FONT:-}"
    assert environment["ATELIER_CAPTION_SIZE"] == "${ATELIER_CAPTION_SIZE:-}"


def test_the_roles_of_captions_see_the_fonts() -> None:
    """The operator's fonts are mounted where fonts are searched, in each role that draws."""
    folder = "/usr/local/share/fonts"
    sources = {role: mounted(role)[folder] for role in SERVICES if folder in mounted(role)}
    assert sources == dict.fromkeys(CAPTIONS, "${ATELIER_FONTS:-fonts}")


def test_all_see_one_folder_of_pictures() -> None:
    """A folder of the host takes the volume's place in every container, the proxy's too."""
    users = {*ROLES, "keys", "proxy"} - {"grpc"}
    sources = {name: mounted(name)["/blobs"] for name in SERVICES if "/blobs" in mounted(name)}
    assert sources == dict.fromkeys(users, "${ATELIER_BLOBS_FOLDER:-blobs}")


def test_default_sources_are_volumes() -> None:
    """Without a folder of the host each mount is a volume that the file declares."""
    declared = yaml.safe_load(TEXT)["volumes"].keys()
    defaults = set(re.findall(r"\$\{ATELIER_\w+:-(\w+)\}:/", TEXT))
    assert {"blobs", "fonts", "tls"} <= defaults <= declared
