"""Logging set up in this process as a role sets it up, for as long as a test needs it."""

from __future__ import annotations

import io
import logging
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atelier.observe import logs
from atelier.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROLE = "api"
FLAGS = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")


class Written:
    """The log of one process."""

    def __init__(self, folder: Path, console: io.StringIO) -> None:
        self.path = folder / "logs" / f"{ROLE}.log"
        self._console = console

    @property
    def console(self) -> str:
        """The console's part."""
        return self._console.getvalue()

    @property
    def file(self) -> str:
        """The file's part."""
        return self.path.read_text()


@contextmanager
def logging_to(folder: Path) -> Iterator[Callable[..., Written]]:
    """A function that sets logging up with given settings; afterwards all is as before."""
    root, ours = logging.getLogger(), logging.getLogger("atelier")
    kept = root.handlers[:], root.level, ours.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    flags = {name: getattr(logging, name) for name in FLAGS}
    root.handlers[:] = []  # pytest's own must not be closed

    def make(**values: object) -> Written:
        console = io.StringIO()
        settings = Settings(data=folder, **values)  # type: ignore[arg-type]
        logs.setup(ROLE, settings, console=console)
        return Written(folder, console)

    try:
        yield make
    finally:
        for handler in root.handlers:
            handler.close()
        logging.captureWarnings(capture=False)
        root.handlers[:], level, our_level = kept
        root.setLevel(level)
        ours.setLevel(our_level)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        for name, value in flags.items():
            setattr(logging, name, value)
