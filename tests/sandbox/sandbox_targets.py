"""Functions that the sandbox's tests run inside it; a child imports this file by its folder."""

from __future__ import annotations

import ctypes
import importlib
import io
import mmap
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import NotFound
from atelier.imaging.errors import BadPicture

if TYPE_CHECKING:
    from collections.abc import Callable

_warmed: list[str] = []


@dataclass(frozen=True, slots=True)
class Wish:
    """A nested argument."""

    name: str
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A nested result."""

    wish: Wish
    data: bytes


def hidden() -> NotFound:
    """Make an error whose class only the child knows."""

    class Hidden(NotFound):
        pass

    return Hidden("no page 7")


def make(wish: Wish, data: bytes) -> list[Made]:
    """Give back what came, once per size."""
    return [Made(Wish(wish.name, (size,)), data[:size]) for size in wish.sizes]


def act(action: str, argument: Any = None) -> Any:
    """Do one of ACTIONS."""
    return ACTIONS[action](argument)


def import_decoders() -> None:
    """Import the decoders and use none."""
    for name in ("cv2", "numpy", "pyvips", "simplejpeg", "PIL.JpegImagePlugin"):
        importlib.import_module(name)


def decode(library: str, picture: bytes) -> list[int]:
    """Decode a JPEG and tell its width and height."""
    import cv2
    import numpy as np
    import pyvips
    import simplejpeg
    from PIL import Image

    pixels: Any
    if library == "libvips":
        image = pyvips.Image.new_from_buffer(picture, "")
        pixels = np.frombuffer(image.write_to_memory(), np.uint8).reshape(
            image.height, image.width, image.bands
        )
    elif library == "simplejpeg":
        pixels = simplejpeg.decode_jpeg(picture)
    elif library == "opencv":
        pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    else:
        pixels = np.asarray(
            Image.open(io.BytesIO(picture), formats=["JPEG"])
            .rotate(90, expand=True)
            .rotate(-90, expand=True)
        )
    height, width, _ = pixels.shape
    return [width, height]


def attempt(action: str, argument: Any = None) -> str:
    """Do one of ACTIONS and name the error that it meets."""
    try:
        act(action, argument)
    except Exception as error:
        return type(error).__name__
    return ""


def warm_up(word: str) -> None:
    """Remember that it was called."""
    _warmed.append(word)


def linger(seconds: float) -> None:
    """Take long to warm up."""
    time.sleep(seconds)


def fail_to_warm_up() -> None:
    """Die as a library that is missing would."""
    raise ImportError("no such decoder")


def _raise(kind: str) -> None:
    raise {
        "bad": BadPicture("half of it is missing"),
        "elsewhere": hidden(),
        "value": ValueError("rubbish at /some/path"),
        "syntax": SyntaxError("broken header"),
        "memory": MemoryError(),
        "hungry": _caused(BadPicture("undecodable"), MemoryError()),
        "glib": RuntimeError("out of memory --- size == 48MB"),
    }[kind]


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _recurse(_: object) -> None:
    _recurse(_)


def _bomb(_: object) -> int:
    return len(bytes(4 * 2**30))


def _segfault(_: object) -> None:
    ctypes.string_at(0)


def _cry_and_abort(_: object) -> None:
    os.write(2, b"GLib-ERROR: failed to allocate 4294967296 bytes\n")
    os.abort()


def _write(path: str) -> None:
    Path(path).write_bytes(b"x")


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _grow_executable(_: object) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def _thread(_: object) -> bool:
    done = threading.Event()
    thread = threading.Thread(target=done.set)
    thread.start()
    thread.join()
    return done.is_set()


def _chatter(size: int) -> int:
    return os.write(2, b"x" * size)


def _hoard(size: int) -> int:
    _warmed.append("x" * size)
    return os.getpid()


def _forge(_: object) -> None:
    """Answer in place of the loop, with a frame that claims four gigabytes."""
    for descriptor in range(3, 4096):  # the socket keeps the number that it has in the parent
        try:
            os.write(descriptor, b"\xff" * 8 + bytes(64))
        except OSError:
            continue
    time.sleep(60)


def _sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "pid": lambda _: os.getpid(),
    "echo": lambda value: value,
    "sleep": _sleep,
    "spin": _spin,
    "raise": _raise,
    "recurse": _recurse,
    "bomb": _bomb,
    "segfault": _segfault,
    "abort": lambda _: os.abort(),
    "signal": signal.raise_signal,
    "exit": os._exit,
    "sys.exit": sys.exit,
    "cry and abort": _cry_and_abort,
    "environment": lambda _: dict(os.environ),
    "warmed": lambda _: _warmed,
    "unserialisable": lambda _: object(),
    "socket": lambda _: socket.socket(),
    "socketpair": lambda _: socket.socketpair(),
    "exec": lambda _: os.execv("/bin/true", ["true"]),  # noqa: S606 - it shall fail
    "fork": lambda _: os.fork(),
    "kill": lambda pid: os.kill(pid, signal.SIGKILL),
    "write": _write,
    "read": _read,
    "list": os.listdir,
    "unlink": os.unlink,
    "stat": os.stat,
    "import": __import__,
    "memfd": lambda _: os.memfd_create("x"),
    "raise limit": lambda _: __import__("resource").setrlimit(9, (-1, -1)),
    "executable": _grow_executable,
    "thread": _thread,
    "chatter": _chatter,
    "hoard": _hoard,
    "forge": _forge,
}
