"""Base64 inside JSON, decoded as it comes."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.errors import Invalid, Malformed
from atelier.tasks.base64_json import REST_BYTES, Base64Json


def read(body: bytes, piece: int = 1 << 16) -> tuple[bytes, dict[str, Any]]:
    """The field `image` and the others of a body that comes in pieces."""
    envelope = Base64Json("image")
    pieces = (body[start : start + piece] for start in range(0, len(body), piece))
    content = b"".join(part for each in pieces for part in envelope.feed(each))
    return content, envelope.finish()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image", "x", '"', "\\"]), inner)
    ),
    max_leaves=8,
)


@given(
    content=st.binary(max_size=200),
    before=st.dictionaries(st.sampled_from(["meta", "a", "image ", 'im"age']), json_values),
    after=st.dictionaries(st.sampled_from(["b", "\\", "Image"]), json_values),
    piece=st.integers(1, 40),
    ascii_only=st.booleans(),
    escape=st.sampled_from([("", ""), ("/", "\\/"), ("+", "\\u002B"), ("=", "\\u003d")]),
    indent=st.sampled_from([None, 1]),
)
def test_it_reads_what_a_json_parser_reads(
    content: bytes,
    before: dict[str, Any],
    after: dict[str, Any],
    piece: int,
    ascii_only: bool,
    escape: tuple[str, str],
    indent: int | None,
) -> None:
    """The field is decoded wherever the chunks end and however the encoder escapes characters."""
    image = base64.b64encode(content).decode()
    text = json.dumps(
        before | {"image": "@" + image + "@"} | after, ensure_ascii=ascii_only, indent=indent
    )
    written = image.replace(*escape) if escape[0] else image
    body = text.replace(f'"@{image}@"', f'"{written}"').encode()
    assert read(body, piece) == (content, before | after)


@pytest.mark.parametrize(
    "text",
    [
        "QUJ",
        "QQ=",
        "QQ===",
        "QQ==QUJD",
        "====",
        "=QUJ",
        "QU=D",
        "QUJD QUJD",
        "QUJD\\n",
        "QU-_",
        "QUJD\\\\",
        'QUJD\\"',
        "\\u004",
        "\\u0100AAA",
        "data:image/png;base64,QUJD",
        "ЖЖЖЖ",
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_base64_is_strict(text: str, piece: int) -> None:
    """No other alphabet, no line breaks, no missing or misplaced padding."""
    with pytest.raises(Invalid) as caught:
        read(f'{{"image": "{text}", "meta": ""}}'.encode(), piece)
    assert caught.value.errors[0]["loc"] == ["body", "image"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"image": "QUJD", "image": "QUJD"}', "Given twice"),
        (b'{"image": "QUJD", "image": null}', "Given twice"),
        (b'{"image": ["QUJD"]}', "A base64 string is needed"),
        (b'{"images": "QUJD"}', "This field is required"),
        (b'{"x": {"image": "QUJD"}}', "This field is required"),
        (b'[{"image": "QUJD"}]', "A JSON object is needed"),
        (b'"image"', "A JSON object is needed"),
    ],
)
def test_the_field_is_needed_once(body: bytes, message: str) -> None:
    """At the top, as a string."""
    with pytest.raises(Invalid) as caught:
        read(body)
    assert caught.value.errors[0]["msg"] == message


def test_its_name_may_be_escaped() -> None:
    """As any name in JSON."""
    assert read(b'{"im\\u0061ge": "QUJD"}') == (b"ABC", {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"image": "QUJD"',
        b'{"image": "QUJD',
        b'{"image" "QUJD"}',
        b'{"image": "QUJD"} {}',
        b'{"image": "QUJD", "meta": "\xff"}',
        b'{"image": "QUJD", "meta": "\\ud800"}',
        b'{"image": "QUJD", "meta": NaN}',
        b"{'image': 'QUJD'}",
        b'{"image": "QUJD",}',
        b'}{"image": "QUJD"}',
        b'{"image": "QUJD", "x": ' + b"[" * 100_000,
        b'{"\\x": "image": "QUJD"}',
    ],
)
def test_the_rest_is_strict_json(body: bytes) -> None:
    """Malformed is malformed, wherever it is so."""
    with pytest.raises(Malformed):
        read(body)


@pytest.mark.parametrize("filler", [b"[", b" ", b'"', b"x", b'"\\'])
def test_what_stands_beside_the_field_is_bounded(filler: bytes) -> None:
    """Long before it is a burden to memory."""
    envelope = Base64Json("image")
    with pytest.raises(Invalid):
        list(envelope.feed(b'{"a":"' + filler * REST_BYTES))


def test_memory_is_flat() -> None:
    """Sixteen megabytes pass in a small part of their size."""
    block = base64.b64encode(bytes(48 * 1024))
    envelope = Base64Json("image")
    list(envelope.feed(b'{"meta": "", "image": "'))
    tracemalloc.start()
    size = sum(len(part) for _ in range(256) for part in envelope.feed(block))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    list(envelope.feed(b'"}'))
    assert (size, envelope.finish()) == (256 * 48 * 1024, {"meta": ""})
    assert peak < 1 << 20
