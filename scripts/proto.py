"""Writes the Python of the .proto files to `src/atelier/proto`.

With `--check` only says whether it is stale.

protoc would import the result as `atelier.books.v1`, which is where the books slice lives: it
moves to `atelier.proto`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "proto"
TARGET = ROOT / "src" / "atelier" / "proto"
DOCSTRING = '"""Generated from `proto/` by `make proto`; not to be edited."""\n'
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"  # google/protobuf/*.proto


def generate() -> dict[str, str]:
    """The generated files: path below `src/atelier/proto` -> text."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        protos = sorted(str(path) for path in SOURCES.rglob("*.proto"))
        code = protoc.main(["protoc", f"-I{SOURCES}", f"-I{WELL_KNOWN}", *outputs, *protos])
        if code:
            raise SystemExit(code)
        root = Path(folder) / "atelier"
        found = {
            str(path.relative_to(root)): _moved(path.read_text())
            for path in sorted(root.rglob("*.py*"))
        }
    folders = {str(parent / "__init__.py") for name in found for parent in Path(name).parents}
    return found | dict.fromkeys(sorted(folders), DOCSTRING)


def _moved(text: str) -> str:
    """With `atelier.X.vN` imported and named as `atelier.proto.X.vN`.

    Names inside descriptors stay.
    """
    for path in SOURCES.glob("atelier/*/*"):
        package = ".".join(path.relative_to(SOURCES).parts)
        moved = package.replace("atelier.", "atelier.proto.", 1)
        text = text.replace(f"from {package} import", f"from {moved} import")
        text = re.sub(rf"'{re.escape(package)}\.(\w+_pb2)'", rf"'{moved}.\1'", text)
    return text


def main(arguments: list[str]) -> int:
    """Write the files, or compare them."""
    wanted = generate()
    present = {
        str(path.relative_to(TARGET)): path.read_text()
        for path in TARGET.rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    if "--check" in arguments:
        stale = sorted(
            name
            for name in wanted.keys() | present.keys()
            if wanted.get(name) != present.get(name)
        )
        if stale:
            sys.stderr.write(f"stale, run `make proto`: {', '.join(stale)}\n")
        return bool(stale)
    for name in present.keys() - wanted.keys():
        (TARGET / name).unlink()
    for name, text in wanted.items():
        (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
