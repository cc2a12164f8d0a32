"""The walking process: updates the walk log and reports its progress on a pipe, line by line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from atelier.classify.walk import Walk, Walked
from atelier.sandbox.confinement import follow


class Note(msgspec.Struct, omit_defaults=True):
    """A report of the walking process: pictures found, a folder that cannot be read, or its end.

    The end says how many folders were left out.
    """

    count: int = 0
    folder: bytes | None = None
    reason: str = ""
    finished: bool = False
    left_out: int = 0


class Order(msgspec.Struct):
    """The order to the walking process."""

    root: bytes
    log: str
    recursive: bool
    shard: int
    shards: int


def main(parent: str, order: str) -> None:
    """Walk, then exit; ends too when the reader closes its end of the pipe."""
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
