"""Renews the container images that compose.yaml and the Dockerfiles start from.

`python -m scripts.images [--check]`: for each pinned image the newest release of its own series,
with its digest. A series keeps what needs an operator: PostgreSQL's, Valkey's and RabbitMQ's major
version, Python's minor one, Debian's name. Exit code 0: all are the newest, or have been
renewed; 1: `--check` found older ones; 3: the registry was not reached.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from scripts import lock, remote

SOURCE = "https://hub.docker.com"
OLDER, UNREACHED = 1, 3
PAGES = 5  # of tags, newest first, a hundred on each
PIN = re.compile(
    r"(?P<start>^\s*(?:image: |ARG \w+_IMAGE=))"
    r"(?P<name>[a-z0-9._/-]+):(?P<tag>[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.MULTILINE,
)
NUMBERS = re.compile(r"\d+")
# How many numbers of a tag name its series, by image; the others are its release.
SERIES = {"python": 2, "debian": 0}
MAJOR = 1


def main(arguments: Sequence[str]) -> int:
    """Renew the pins, or look at them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--source", default=SOURCE, help="address of Docker Hub's API")
    parser.add_argument("--root", type=Path, default=lock.ROOT, help="folder of the files")
    chosen = parser.parse_args(arguments)
    files = [chosen.root / "compose.yaml", *sorted((chosen.root / "docker").glob("*.Dockerfile"))]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    pins = {pin[0].removeprefix(pin["start"]): pin for t in texts.values() for pin in pinned(t)}
    try:
        newest = {old: renewed(pin, chosen.source) for old, pin in sorted(pins.items())}
    except remote.Unreached as error:
        sys.stderr.write(f"images: {error}: nothing was changed\n")
        return UNREACHED
    changed = {old: new for old, new in newest.items() if new != old}
    for old, new in changed.items():
        sys.stdout.write(f"{old} -> {new}\n")
    if not chosen.check:
        for path, text in texts.items():
            path.write_text(replaced(text, changed), encoding="utf-8")
    return OLDER if chosen.check and changed else 0


def pinned(text: str) -> list[re.Match[str]]:
    """The images of others that a file names; Atelier's own have a variable for a tag."""
    return list(PIN.finditer(text))


def replaced(text: str, changed: dict[str, str]) -> str:
    """The text with other pins."""

    def new(pin: re.Match[str]) -> str:
        old = pin[0].removeprefix(pin["start"])
        return pin["start"] + changed.get(old, old)

    return PIN.sub(new, text)


def renewed(pin: re.Match[str], source: str) -> str:
    """The newest release of the same series and form, with its digest. Raises Unreached."""
    name, tag = pin["name"], pin["tag"]
    known = tags(name, tag, source)
    candidates = {found: digest for found, digest in known if alike(name, tag, found)}
    best = max(candidates, key=numbers, default=None)
    if best is None:
        raise remote.Unreached(f"{source} knows no {name}:{tag}")
    return f"{name}:{best}@{candidates[best]}"


def tags(name: str, tag: str, source: str) -> list[tuple[str, str]]:
    """Tags that begin as this one does, and their digests. Raises Unreached."""
    start = re.split(r"\d", tag)[0] or NUMBERS.findall(tag)[0]
    path = name if "/" in name else f"library/{name}"
    query = urlencode({"page_size": 100, "name": start, "ordering": "last_updated"})
    url: str | None = f"{source}/v2/repositories/{path}/tags?{query}"
    found: list[tuple[str, str]] = []
    for _ in range(PAGES):
        answer = remote.ask(url) if url else {}
        entries = answer.get("results", ())
        found += [(each["name"], each["digest"]) for each in entries if each.get("digest")]
        url = answer.get("next")
    return found


def alike(name: str, tag: str, other: str) -> bool:
    """Whether another tag is of the same series and form: `17.7` as `17.6`, not `17` or `18.0`."""
    kept = SERIES.get(name, MAJOR)
    same = NUMBERS.sub("0", tag) == NUMBERS.sub("0", other)
    return same and numbers(tag)[:kept] == numbers(other)[:kept]


def numbers(tag: str) -> list[int]:
    """The numbers of a tag."""
    return [int(number) for number in NUMBERS.findall(tag)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
