"""A transforming process: reads paths from a socket and answers each with a JPEG or a failure.

Its parent notices what a decoder does to it (crash, hang, memory); it dies with its parent.
"""

from __future__ import annotations

import base64
import errno
import os
import resource
import socket
import stat
import sys

from atelier.classify import frames
from atelier.classify.outcomes import Failed, Transformed
from atelier.imaging.errors import BadPicture, NotAnImage, TooManyPixels
from atelier.imaging.recipe import Limits
from atelier.imaging.transform import transform
from atelier.sandbox.confinement import follow
from atelier.sandbox.inside import OUT_OF_MEMORY

PIXEL = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    b"rkJggg=="
)
"""A PNG of one pixel."""

HUNGRY = "decoding needs more memory than the limit"


def main(
    parent: str, descriptor: str, rotate: str, resize: str, pixels: str, size: str, memory: str
) -> None:
    """Serve until the parent closes its end of the socket."""
    follow(int(parent))
    transform(PIXEL)  # loads everything lazy, so that the memory limit counts pictures alone
    _limit_memory(int(memory))
    limits = Limits(pixels=int(pixels))
    with socket.socket(fileno=int(descriptor)) as peer, peer.makefile("rb") as requests:
        peer.sendall(frames.ready())
        while head := requests.read(frames.REQUEST.size):
            path = requests.read(frames.REQUEST.unpack(head)[0])
            peer.sendall(
                answer(
                    path, rotate=rotate == "1", resize=resize == "1", limits=limits, most=int(size)
                )
            )


def answer(path: bytes, *, rotate: bool, resize: bool, limits: Limits, most: int) -> bytes:
    """Transform one picture; every error becomes an answer too."""
    try:
        return frames.transformed(
            _transformed(read(path, most), rotate=rotate, resize=resize, limits=limits)
        )
    except Failed as failed:
        return frames.failed(failed)


def read(path: bytes, most: int) -> bytes:
    """Read a regular file of at most `most` bytes; does not wait on a pipe of that name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Failed("unreadable", "not a regular file")
            if status.st_size > most:
                raise Failed("too_large", f"{status.st_size} bytes; the limit is {most}")
            return file.read(status.st_size)
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise Failed(
            "vanished" if gone else "unreadable", error.strerror or type(error).__name__
        ) from error


def _transformed(picture: bytes, *, rotate: bool, resize: bool, limits: Limits) -> Transformed:
    try:
        return Transformed(*transform(picture, rotate=rotate, resize=resize, limits=limits))
    except NotAnImage as error:
        raise Failed("not_an_image", error.detail) from error
    except TooManyPixels as error:
        raise Failed("too_large", error.detail) from error
    except BadPicture as error:
        raise _damaged(error, error.detail) from error
    except Exception as error:
        raise _damaged(error, f"{type(error).__name__}: {error}") from error


def _damaged(error: Exception, detail: str) -> Failed:
    hungry = isinstance(error, MemoryError) or OUT_OF_MEMORY.search(detail)
    return Failed("too_large", HUNGRY) if hungry else Failed("damaged", detail)


def _limit_memory(more: int) -> None:
    """Let the process grow by at most `more` bytes, so that a hungry picture fails alone."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - one read
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(*sys.argv[1:])
