"""A streaming parser for a JSON object one field of which is base64, decoded on the fly.

The base64 text is never held: memory is bounded by the other fields, and time is linear for any
input. Knows no HTTP.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

import orjson

from atelier.errors import Invalid, Malformed
from atelier.wire.complaints import REQUIRED, TWICE, refused

REST_BYTES = 256 * 1024  # of everything but the field

_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING_END = re.compile(rb'["\\]')
# JSON may write each character as an escape; PHP does so with the slash, .NET with the plus.
_ESCAPE = re.compile(rb"\\(?:/|u00([2-7][0-9A-Fa-f]))")
_ESCAPE_BYTES = len(rb"\u002f")
_DEPTH = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


class State(Enum):
    """The place of the next byte in the JSON text."""

    BETWEEN = auto()
    STRING = auto()
    ESCAPED = auto()
    FIELD = auto()


class Base64Json:
    """Takes the body in pieces, yields the bytes of the field, and at the end the other fields.

    It understands only as much JSON as finds the field; the rest is parsed when it is complete,
    with an empty string in the field's place.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = bytearray()
        self._depth = 0
        self._state = State.BETWEEN
        self._last = slice(0, 0)  # the last string in `rest`, with its quotes
        self._found = False
        self._base64 = Base64(name)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; yields the decoded bytes of the field in them.

        Raises Invalid.
        """
        place = 0
        while place < len(chunk):
            if self._state is not State.FIELD:
                place = self._skip(chunk, place)
                continue
            end = chunk.find(b'"', place)
            yield self._base64.feed(chunk[place:] if end < 0 else chunk[place:end])
            if end < 0:
                return
            self._base64.finish()
            self._state = State.BETWEEN
            place = end + 1

    def finish(self, instead: str | None = None) -> dict[str, Any]:
        """The other fields; one of the name `instead` may be there in the field's place.

        Raises Malformed if the body is not JSON, Invalid if the field is missing.
        """
        try:
            fields = orjson.loads(self._rest)
        except orjson.JSONDecodeError as error:
            raise Malformed(f"The body is not valid JSON: {error.msg}.") from None
        if not isinstance(fields, dict):
            raise refused("A JSON object is needed", "body")
        given = fields.pop(self._name, None)
        if not self._found:
            if given is None and instead in fields:
                return fields
            message = REQUIRED if given is None else "A base64 string is needed"
            raise refused(message, "body", self._name)
        # A name that is given twice: the later value counts everywhere else, so neither may here
        if given is None or given:
            raise refused(TWICE, "body", self._name)
        return fields

    @property
    def found(self) -> bool:
        """Whether the field has begun."""
        return self._found

    def _skip(self, chunk: bytes, place: int) -> int:
        """Keep bytes up to the next structural one; returns the place after it."""
        if self._state is State.ESCAPED:
            self._keep(chunk[place : place + 1])
            self._state = State.STRING
            return place + 1
        match = (_STRING_END if self._state is State.STRING else _STRUCTURE).search(chunk, place)
        if match is None:
            self._keep(chunk[place:])
            return len(chunk)
        self._keep(chunk[place : match.end()])
        self._turn(match[0])
        return match.end()

    def _turn(self, mark: bytes) -> None:
        """Change state after `mark`, the last byte that was kept."""
        if self._state is State.STRING:
            if mark == b"\\":
                self._state = State.ESCAPED
            else:
                self._state = State.BETWEEN
                self._last = slice(self._last.start, len(self._rest))
        elif mark != b'"':
            self._depth += _DEPTH[mark]
        elif self._is_field():
            if self._found:
                raise refused(TWICE, "body", self._name)
            self._keep(b'"')
            self._state, self._found = State.FIELD, True
            self._last = slice(0, 0)
        else:
            self._state = State.STRING
            self._last = slice(len(self._rest) - 1, len(self._rest))

    def _is_field(self) -> bool:
        """True if the string that begins with the last quote is the field's value."""
        if self._depth != 1 or not self._last.stop:
            return False
        # Only between a key and its value are there just a colon and white space: after a value
        # there is a comma.
        return self._rest[self._last.stop : -1].strip() == b":" and self._key() == self._name

    def _key(self) -> str | None:
        raw = bytes(self._rest[self._last])
        if raw == b'"%b"' % self._name.encode():
            return self._name
        try:
            return str(orjson.loads(raw)) if b"\\" in raw else None
        except orjson.JSONDecodeError:
            return None  # then the whole does not parse either

    def _keep(self, part: bytes) -> None:
        self._rest += part
        if len(self._rest) > REST_BYTES:
            raise refused(f"More than {REST_BYTES} bytes beside `{self._name}`", "body")


class Base64:
    """Base64 (RFC 4648, section 4; padding required) in a JSON string, decoded in pieces."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = b""  # an incomplete escape, or an incomplete group of four
        self._padded = False

    def feed(self, text: bytes) -> bytes:
        """Decode the groups that the next bytes of the string complete. Raises Invalid."""
        text, escape = self._unescaped(self._held + text)
        whole = len(text) - len(text) % 4
        self._held = text[whole:] + escape
        if not whole:
            return b""
        if self._padded:
            raise self._bad()
        self._padded = text[whole - 1 : whole] == b"="
        try:
            return binascii.a2b_base64(text[:whole], strict_mode=True)
        except binascii.Error:
            raise self._bad() from None

    def finish(self) -> None:
        """End the string. Raises Invalid if it is incomplete."""
        if self._held:
            raise self._bad()

    def _unescaped(self, text: bytes) -> tuple[bytes, bytes]:
        """The text without escapes, and an incomplete escape at its end."""
        last = text.rfind(b"\\")
        if last < 0:
            return text, b""
        escape = b""
        if len(text) - last < _ESCAPE_BYTES and text[last + 1 : last + 2] != b"/":
            text, escape = text[:last], text[last:]
        plain = _ESCAPE.sub(_character, text)
        if b"\\" in plain:
            raise self._bad()
        return plain, escape

    def _bad(self) -> Invalid:
        message = "Not base64 (RFC 4648 with padding; no line breaks, no `data:` before it)"
        return refused(message, "body", self._name)


def _character(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else b"/"
