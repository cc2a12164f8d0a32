"""The outcomes of a picture: an answer, or a failure of a known kind.

Plain data; knows no file and no network.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Literal

import msgspec

Kind = Literal[
    "vanished",
    "unreadable",
    "not_an_image",
    "damaged",
    "too_large",
    "too_slow",
    "crashed",
    "unreachable",
    "remote_4xx",
    "remote_5xx",
    "bad_answer",
]

OF_THE_FILE: frozenset[Kind] = frozenset(("not_an_image", "damaged", "too_large"))
"""Kinds that depend on the file alone: within the same limits a retry fails again."""

DETAIL_MOST = 200
"""Longest error text that is kept, in characters."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture to classify: its number, its path below the directory, and the next position.

    `after` is the position at which its source continues. `retried` is the kind of its last
    failure when it is tried again.
    """

    n: int
    path: bytes
    after: int
    retried: Kind | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class Transformed:
    """The picture as it is sent, and its magic numbers."""

    jpeg: bytes
    magic: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the remote service, with the time of the request that succeeded."""

    label: str
    score: float
    elapsed_us: int
    attempts: int


class Failed(Exception):
    """A picture without an answer, and why."""

    def __init__(self, kind: Kind, detail: str = "", attempts: int = 0) -> None:
        super().__init__(kind, detail)
        self.kind: Kind = kind
        self.detail = detail[:DETAIL_MOST]
        self.attempts = attempts


class Result(msgspec.Struct, omit_defaults=True):
    """One line of the results.

    `path_bytes` is set (base64) when the name is not UTF-8 and `path` only resembles it.
    """

    n: int
    path: str
    label: str = msgspec.field(name="class")
    score: float
    magic: tuple[float, ...]
    elapsed_ms: float
    size: int
    attempts: int = 1
    retried: Kind | Literal[""] = ""
    path_bytes: str = ""


class Failure(msgspec.Struct, omit_defaults=True):
    """One line of the failures."""

    n: int
    path: str
    kind: Kind
    detail: str = ""
    attempts: int = 0
    retried: Kind | Literal[""] = ""
    path_bytes: str = ""


def result(entry: Entry, transformed: Transformed, answer: Answer) -> Result:
    """Make the line of a classified picture."""
    path, raw = text_of(entry.path)
    return Result(
        entry.n,
        path,
        answer.label,
        answer.score,
        transformed.magic,
        answer.elapsed_us / 1000,
        len(transformed.jpeg),
        answer.attempts,
        entry.retried,
        raw,
    )


def failure(entry: Entry, failed: Failed) -> Failure:
    """Make the line of a picture that failed."""
    path, raw = text_of(entry.path)
    return Failure(entry.n, path, failed.kind, failed.detail, failed.attempts, entry.retried, raw)


def text_of(path: bytes) -> tuple[str, str]:
    """A path as text, and in base64 if the text cannot say it exactly."""
    try:
        return path.decode(), ""
    except UnicodeDecodeError:
        return path.decode("utf-8", "replace"), base64.b64encode(path).decode()


def path_of(line: Result | Failure) -> bytes:
    """The path of a line, in bytes."""
    return base64.b64decode(line.path_bytes) if line.path_bytes else os.fsencode(line.path)
