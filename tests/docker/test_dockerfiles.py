"""The images' recipes: alike where they should be, unprivileged, and complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
ROLES = ("api", "processor", "archiver", "relay", "grpc", "files", "migrate")
# Roles that draw captions, or in whose container `atelier doctor` says how they are drawn.
CAPTIONS = ("processor", "migrate")
LIBRARY = [
    "RUN apt-get update \\",
    "    && apt-get install -y --no-install-recommends libfribidi0 \\",
    "    && rm -rf /var/lib/apt/lists/*",
]
OWN = re.compile(
    r"^(#|LABEL|EXPOSE|CMD|HEALTHCHECK|COPY "
    r"docker/keys.py|\s+org\.opencontainers\.image\.(title|description)=)"
    r"|^(ENV|\s+) ?ATELIER_(ROLE|HOST|METRICS_PORT)="
)


def recipe(role: str) -> list[str]:
    return (DOCKER / f"{role}.Dockerfile").read_text().splitlines()


@pytest.mark.parametrize("role", ROLES)
def test_the_recipes_of_all_roles_are_one(role: str) -> None:
    """Recipes differ only in name, port, command and health check.

    And in the library for captions, which only some need.
    """

    def shared(of: str) -> list[str]:
        return [
            line.replace(f"{of}.txt", "ROLE.txt") for line in recipe(of) if not OWN.match(line)
        ]

    lines = shared(role)
    if role in CAPTIONS:
        at = lines.index(LIBRARY[0])
        assert lines[at : at + len(LIBRARY)] == LIBRARY
        del lines[at : at + len(LIBRARY)]
    assert lines == shared("api")


@pytest.mark.parametrize("role", ROLES)
def test_an_image_says_what_runs_in_it(role: str) -> None:
    """`atelier doctor` goes by it."""
    assert f"    ATELIER_ROLE={role} \\" in recipe(role)


@pytest.mark.parametrize("role", [*ROLES, "proxy"])
def test_an_image_runs_unprivileged_from_a_named_base(role: str) -> None:
    """Each image has a numeric user other than root, a stop signal and a mirrorable base."""
    text = "\n".join(recipe(role))
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert users
    assert all(int(user) >= 10_000 for user, _ in users)
    assert re.search(r"^STOPSIGNAL SIG(TERM|QUIT)$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    assert f'org.opencontainers.image.title="atelier-{role}"' in text
    assert "# syntax" not in text
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert bases <= {"${PYTHON_IMAGE}", "${DEBIAN_IMAGE}", "builder"}


def test_every_role_has_a_recipe() -> None:
    """Every image is held to the rules above."""
    assert {path.name.removesuffix(".Dockerfile") for path in DOCKER.glob("*.Dockerfile")} == {
        *ROLES,
        "proxy",
    }
