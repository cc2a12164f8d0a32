"""The head of a form's part: what it is called, and the name that it gives its file.

RFC 7578 as browsers write it (WHATWG HTML, "Multipart form data"), and what other clients send:
the `filename*` of RFC 8187, the encoded words of RFC 2047, backslashes, no quotes at all.
"""

from __future__ import annotations

import codecs
import re
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

from multipart import content_disposition_unquote

NOT_UTF8 = "The file's name is not valid UTF-8"
NOT_EXTENDED = "`filename*` is not written as RFC 8187 has it: UTF-8''name, percent-encoded"
ENCODED = "Send the bytes as they are: no Content-Transfer-Encoding is undone"

# Of a name in `filename*` or in an encoded word, as Python calls them: those of the Encoding
# Standard. Python has others, some of which are no texts or take long.
CHARSETS = frozenset(
    {
        *("ascii", "utf-8", "koi8-r", "koi8-u", "cp866", "mac-roman", "mac-cyrillic", "cp874"),
        *(f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)),
        *(f"cp{page}" for page in range(1250, 1259)),
        *("gb2312", "gbk", "gb18030", "big5", "big5hkscs", "shift_jis", "cp932", "euc_jp"),
        *("iso2022_jp", "euc_kr", "cp949"),
    }
)
PLAIN = ("7bit", "8bit", "binary")  # encodings of RFC 2045 that change no byte

# A quoted value ends at a quote before a semicolon or the end: browsers escape no backslash, so
# the one before it may be the name's own, and some clients escape no quote.
_OPTION = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"(?=\s*(?:;|$))|[^;]*)')
_EXTENDED = re.compile(r"([\w.:-]+)'[\w-]*'(.*)", re.ASCII | re.DOTALL)
_WORD = r"=\?[\w.:-]+(?:\*[\w-]*)?\?[bBqQ]\?[^?]*\?="
_WORDS = re.compile(rf"{_WORD}(?:\s*{_WORD})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form by its headers.

    `filename` is None for a part without one; `complaint` says what is wrong with the one given.
    """

    name: str
    filename: str | None
    content_type: str
    complaint: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether this is a file: browsers give each a name and a media type, and texts neither.

        Some clients leave the name out, and some say that a text is text/plain.
        """
        return self.filename is not None or self.content_type not in ("", "text/plain")


def part(headers: Iterable[tuple[str, str]]) -> Part:
    """A part by the names and values of its headers, which hold bytes as Latin-1.

    Raises ValueError, with a sentence, for a name of the part that is not UTF-8.
    """
    named = dict(headers)
    given = options(named.get("Content-Disposition", ""))
    try:
        name = _utf8(content_disposition_unquote(given.get("name", "")))
    except UnicodeDecodeError:
        raise ValueError("The name of a part is not valid UTF-8") from None
    encoding = named.get("Content-Transfer-Encoding", "binary").strip().lower()
    filename, complaint = _filename(given)
    return Part(
        name,
        filename,
        named.get("Content-Type", "").partition(";")[0].strip().lower(),
        complaint if encoding in PLAIN else ENCODED,
    )


def options(header: str) -> dict[str, str]:
    """The parameters of a header by their names in lower case, with the quotes that they have.

    Values without quotes may hold any character but a semicolon, as clients send them.
    """
    return {match[1].lower(): match[2].strip() for match in _OPTION.finditer(header)}


def _filename(given: dict[str, str]) -> tuple[str | None, str | None]:
    """The file's name, and what is wrong with it: `filename*` wins (RFC 6266, 4.3).

    An unusable one is passed over for the `filename` beside it.
    """
    plain, extended = given.get("filename"), given.get("filename*")
    if extended is not None and (name := _extended(extended)) is not None:
        return name, None
    if plain is None:
        return (None, None) if extended is None else ("", NOT_EXTENDED)
    try:
        name = _utf8(content_disposition_unquote(plain, filename=True))
    except UnicodeDecodeError:
        return "", NOT_UTF8
    return _WORDS.sub(lambda run: _words(run[0]), name), None


def _extended(value: str) -> str | None:
    """The text of an extended value; None if it is none (RFC 8187, 3.2)."""
    if not (match := _EXTENDED.fullmatch(value.strip('"'))):
        return None
    return _decoded(unquote_to_bytes(match[2].encode("latin-1")), match[1])


def _words(run: str) -> str:
    """Encoded words as the text that they stand for, or as they are if they stand for none."""
    try:
        pieces = decode_header(run)
    except (HeaderParseError, Base64Error):
        return run
    texts = [
        _decoded(piece, charset or "ascii") if isinstance(piece, bytes) else piece
        for piece, charset in pieces
    ]
    known = [text for text in texts if text is not None]
    return "".join(known) if len(known) == len(texts) else run


def _decoded(raw: bytes, charset: str) -> str | None:
    """Bytes as text; None for a charset that is not known, and for bytes that are not in it."""
    try:
        codec = codecs.lookup(charset.partition("*")[0])  # RFC 2231 adds a language: utf-8*ru
        return raw.decode(codec.name) if codec.name in CHARSETS else None
    except (LookupError, UnicodeDecodeError):
        return None


def _utf8(text: str) -> str:
    """Bytes that were read as Latin-1, as the UTF-8 that they should be."""
    return text.encode("latin-1").decode()
