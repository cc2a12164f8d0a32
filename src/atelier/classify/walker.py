"""The walking process: brings the walk log up to date and says, line by line on a pipe, how far it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from atelier.classify.walk import Walk, Walked
from atelier.sandbox.confinement import follow


class Note(msgspec.Struct, omit_defaults=True):
    """What the walking process says: pictures found so far, a folder that cannot be read, or its end.

    With the end comes how many folders were left out.
    """

    count: int = 0
    folder: bytes | None = None
    reason: str = ""
    finished: bool = False
    left_out: int = 0


class Order(msgspec.Struct):
    """What the walking process is asked to do."""

    root: bytes
    log: str
    recursive: bool
    shard: int
    shards: int


def main(parent: str, order: str) -> None:
    """Walk, then exit; the reader's end of the pipe closing ends it too."""
    follow(int(parent))
    wanted = msgspec.json.decode(order, type=Order)

    def say(note: Note) -> None:
        try:
            os.write(1, msgspec.json.encode(note) + b"\n")
        except BrokenPipeError:
            os._exit(0)

    count = 0

    def publish(found: int) -> None:
        nonlocal count
        count = found
        say(Note(count))

    walk = Walk(
        Walked(wanted.root, wanted.recursive, wanted.shard, wanted.shards),
        Path(wanted.log),
        publish,
        lambda folder, reason: say(Note(count, folder, reason)),
    )
    walk.run()
    say(Note(count, finished=True, left_out=walk.left_out))


if __name__ == "__main__":
    main(*sys.argv[1:])
