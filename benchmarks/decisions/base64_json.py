"""An image as base64 inside a JSON body: decoded as it comes, or by a parser of JSON.

    python base64_json.py [--peers OTHER_VENV/bin/python] [--mib 16] [--rounds 5]

Each reads the same pieces of 64 KiB, as a server gets them, and hashes the image. `memory` is the
peak beyond what the process had before, `longest` the longest time in which an event loop could
do nothing else. `hostile` is the CPU time until a body of the same size is refused that has no
image but text made of escapes. `--peers` names a Python that has ijson and json-stream.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Feed = Iterator[bytes]
Decode = Callable[[Feed, Callable[[bytes], None]], Iterator[None]]

PIECE = 64 * 1024
PEERS = ("ijson (yajl2_c)", "json-stream")


def ours(pieces: Feed, take: Callable[[bytes], None]) -> Iterator[None]:
    """Never holds the text."""
    from atelier.tasks.base64_json import Base64Json

    envelope = Base64Json("image")
    for piece in pieces:
        for part in envelope.feed(piece):
            take(part)
        yield
    envelope.finish()


def standard(pieces: Feed, take: Callable[[bytes], None]) -> Iterator[None]:
    """The whole body, by the standard library."""
    body = bytearray()
    for piece in pieces:
        body += piece
        yield
    text = json.loads(body)["image"]
    yield
    take(base64.b64decode(text, validate=True))


def orjson(pieces: Feed, take: Callable[[bytes], None]) -> Iterator[None]:
    """The whole body, by the fastest parser."""
    import orjson as library

    body = bytearray()
    for piece in pieces:
        body += piece
        yield
    text = library.loads(body)["image"]
    yield
    take(binascii.a2b_base64(text, strict_mode=True))


def ijson(pieces: Feed, take: Callable[[bytes], None]) -> Iterator[None]:
    """A parser that is fed; it gives a string when it has all of it."""
    import ijson as library

    events, key = library.sendable_list(), ""
    parser = library.get_backend("yajl2_c").basic_parse_coro(events)
    for piece in pieces:
        parser.send(piece)
        for kind, value in events:
            key = value if kind == "map_key" else key
            if kind == "string" and key == "image":
                take(binascii.a2b_base64(value, strict_mode=True))
        del events[:]
        yield
    parser.close()


def json_stream(pieces: Feed, take: Callable[[bytes], None]) -> Iterator[None]:
    """A parser that reads a file, so that it needs a thread; it gives strings whole, too."""
    import json_stream as library

    for key, value in library.load(pieces).items():
        if key == "image":
            take(binascii.a2b_base64(value, strict_mode=True))
        yield


CONTESTANTS: dict[str, Decode] = {
    "ours": ours,
    "json.loads": standard,
    "orjson": orjson,
    "ijson (yajl2_c)": ijson,
    "json-stream": json_stream,
}


def image_pieces(mib: int) -> Feed:
    """A body with an image, made as it is read."""
    yield b'{"meta": "Is the light red?", "image": "'
    raw = bytes(range(256)) * (PIECE // 4 * 3 // 256)
    text = base64.b64encode(raw)
    for _ in range(mib * 2**20 // len(raw)):
        yield text
    yield b'"}'


def escape_pieces(mib: int) -> Feed:
    """A body of the same size whose one text is made of escapes."""
    yield b'{"meta": "'
    for _ in range(mib * 4 // 3 * 2**20 // PIECE):
        yield b"\\u0041" * (PIECE // 6)
    yield b'"}'


def peak() -> float:
    """The most MiB that this process has held since the mark was reset."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def run(decode: Decode, pieces: Feed, take: Callable[[bytes], None]) -> tuple[float, float, float]:
    """CPU ms, MiB and the longest ms of one body."""
    Path("/proc/self/clear_refs").write_text("5")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before, began = pages * resource.getpagesize() / 2**20, time.process_time()
    longest, steps = 0.0, decode(pieces, take)
    while True:
        since = time.process_time()
        try:
            next(steps)
        except StopIteration:
            break
        except Exception as error:
            print(f"{type(error).__name__}: {error}"[:120], file=sys.stderr)
            break
        finally:
            longest = max(longest, time.process_time() - since)
    return (time.process_time() - began) * 1e3, peak() - before, longest * 1e3


def contest(name: str, mib: int) -> dict[str, float]:
    """All figures of one way, in this process."""
    decode = CONTESTANTS[name]
    run(decode, image_pieces(1), lambda _: None)  # imports
    digest = hashlib.sha256()
    spent, memory, longest = run(decode, image_pieces(mib), digest.update)
    hostile, _, _ = run(decode, escape_pieces(mib), lambda _: None)
    return {"cpu": spent, "mib": memory, "longest": longest, "hostile": hostile}


def main() -> None:
    """Run as one contestant, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python that has ijson and json-stream")
    parser.add_argument("--mib", type=int, default=16, help="size of the image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant, options.mib)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            python = options.peers if name in PEERS else sys.executable
            if python:
                command = [python, __file__, "--contestant", name, "--mib", str(options.mib)]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                found.setdefault(name, []).append(json.loads(said.stdout))
    print("| | CPU ms | memory, MiB | longest, ms | hostile, ms |\n|---|---|---|---|---|")
    for name, rounds in found.items():
        cells = (statistics.median(one[key] for one in rounds) for key in rounds[0])
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
