"""A package index in a folder (PEP 503), of made-up packages: wheels, and sources to be built."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# A build backend (PEP 517, PEP 660) in one module, for what `project` describes.
BACKEND = """
import pathlib, tomllib, zipfile

def wheel(directory, content):
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    info = f"{name}-{version}.dist-info"
    files = content(name) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\\n" for path in [*files, f"{info}/RECORD"])
    named = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory) / named, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return named

def build_wheel(directory, config_settings=None, metadata_directory=None):
    return wheel(directory, lambda name: {f"{name}.py": ""})

def build_editable(directory, config_settings=None, metadata_directory=None):
    return wheel(directory, lambda name: {f"{name}.pth": str(pathlib.Path.cwd())})
"""


@dataclass(frozen=True)
class Release:
    """One file of the index: a wheel, or a source archive when it names the backend."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    module: str = ""
    backend: str = ""
    build: str = ""  # a wheel's build tag: a second file of the same release

    @property
    def metadata(self) -> str:
        """METADATA or PKG-INFO."""
        lines = [f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Provides-Extra: {extra}" for extra in self.extras]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join(["Metadata-Version: 2.1", *lines, ""])

    @property
    def filename(self) -> str:
        """As pip reads name, version and kind of file from it."""
        if self.backend:
            return f"{self.name}-{self.version}.tar.gz"
        return "-".join(filter(None, [self.name, self.version, self.build, "py3-none-any.whl"]))


def project(name: str, version: str, backend: str) -> str:
    """The pyproject.toml of what `backend` builds."""
    return f"""[project]
name = "{name}"
version = "{version}"
[build-system]
requires = ["{backend}"]
build-backend = "{backend}"
"""


class Index:
    """Files of releases below `root`, laid out as pip reads an index at `url`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def add(self, release: Release) -> None:
        """Offer the release, beside those that the package has already."""
        folder = self.root / release.name
        folder.mkdir(parents=True, exist_ok=True)
        content = source(release) if release.backend else wheel(release)
        (folder / release.filename).write_bytes(content)
        files = {file.name: digest(file) for file in folder.glob("*-*")}
        links = (f'<a href="{name}#sha256={files[name]}">{name}</a>' for name in files)
        (folder / "index.html").write_text("<!DOCTYPE html>" + "\n".join(links))

    def locked(self, release: Release) -> str:
        """The line of a lock that takes this file and no other."""
        file = self.root / release.name / release.filename
        return f"{release.name}=={release.version} \\\n    --hash=sha256:{digest(file)}\n"


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def wheel(release: Release) -> bytes:
    info = f"{release.name}-{release.version}.dist-info"
    files = {
        f"{release.name}.py": release.module,
        f"{info}/METADATA": release.metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return packed.getvalue()


def source(release: Release) -> bytes:
    files = {
        "pyproject.toml": project(release.name, release.version, release.backend),
        "PKG-INFO": release.metadata,
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{release.name}-{release.version}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()
