"""The generated code of the .proto files is what the files say."""

from __future__ import annotations

from atelier.proto.books.v1 import books_pb2
from scripts.proto import TARGET, generate, main


def test_generated_code_is_fresh() -> None:
    """`make proto` would change nothing."""
    assert main(["--check"]) == 0


def test_generated_code_does_not_shadow_the_slices() -> None:
    """Messages live in `atelier.proto`, under the protocol's own names on the wire."""
    assert books_pb2.Book.__module__ == "atelier.proto.books.v1.books_pb2"
    assert books_pb2.Book.DESCRIPTOR.full_name == "atelier.books.v1.Book"
    assert {name for name in generate() if name.endswith("_pb2.py")} <= {
        str(path.relative_to(TARGET)) for path in TARGET.rglob("*.py")
    }
