"""The child's side of the sandbox: load a function, warm it up, confine the process, serve calls.

The parent starts it as a fresh interpreter (`main`), never by import; it knows neither who calls
nor how often. Nothing can be imported or opened after the warm-up, so the warm-up must touch
everything that the function needs later.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import inspect
import linecache
import re
import socket
import traceback
import typing
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from atelier.errors import AtelierError
from atelier.sandbox import confinement
from atelier.sandbox.frames import Channel

OUT_OF_MEMORY = re.compile(
    r"failed to allocate|out of memory|insufficient ?memory|cannot allocate|can't "
    r"allocate|bad_alloc|MemoryError",
    re.IGNORECASE,
)
"""Messages of GLib, libvips, OpenCV, libc, C++ and Python when RLIMIT_AS stops them."""

_TRACE = 8_000
"""Characters kept of a traceback, from its end."""

_linecache = linecache  # traceback imports it lazily, when nothing can be imported any more


class Order(msgspec.Struct):
    """The parent's first message."""

    target: str
    warm_up: str | None
    warm_up_args: list[Any]
    memory: int


class Ready(msgspec.Struct):
    """The answer to an order."""

    confined: bool


class Reply(msgspec.Struct, omit_defaults=True):
    """The answer to a call: a value, a known error, or how it failed."""

    status: Literal["done", "refused", "failed", "memory", "misused"]
    value: Any = None
    kinds: list[str] = []
    slug: str = ""
    detail: str = ""


def main(parent: str, descriptor: str) -> None:
    """Serve the socket inherited from the parent until it is closed."""
    confinement.follow(int(parent))
    faulthandler.enable()
    channel = Channel(socket.socket(fileno=int(descriptor)))
    order = msgspec.convert(channel.receive(), Order)
    target = Target(order.target)
    _touch(target, order)
    gc.collect()
    gc.freeze()
    channel.send(Ready(confined=confinement.confine(order.memory)))
    while True:
        try:
            arguments = channel.receive()
        except EOFError:
            return
        channel.send(answer(target, arguments))


def resolve(name: str) -> Callable[..., Any]:
    """Import what "module:qualname" names."""
    module, _, qualname = name.partition(":")
    value: Any = importlib.import_module(module)
    for part in qualname.split("."):
        value = getattr(value, part)
    return typing.cast("Callable[..., Any]", value)


class Target:
    """A function and the types of its positional parameters: Any where there is no annotation."""

    def __init__(self, name: str) -> None:
        self.function = resolve(name)
        hints = typing.get_type_hints(self.function)
        parameters = inspect.signature(self.function).parameters.values()
        self.types = [hints.get(parameter.name, Any) for parameter in parameters]
        self.required = sum(parameter.default is parameter.empty for parameter in parameters)

    def convert(self, arguments: list[Any]) -> list[Any]:
        """Turn builtins into the function's types; raises TypeError or ValidationError."""
        if not self.required <= len(arguments) <= len(self.types):
            raise TypeError(f"{len(arguments)} arguments for {len(self.types)} parameters")
        return [
            msgspec.convert(value, kind)
            for value, kind in zip(arguments, self.types, strict=False)
        ]


def answer(target: Target, arguments: list[Any]) -> Reply:
    """Call the function; every error becomes a reply."""
    try:
        values = target.convert(arguments)
    except (msgspec.ValidationError, TypeError) as error:
        return Reply("misused", detail=str(error))
    try:
        return Reply(
            "done", value=msgspec.to_builtins(target.function(*values), builtin_types=(bytes,))
        )
    except AtelierError as error:
        if isinstance(error.__cause__, MemoryError) or OUT_OF_MEMORY.search(error.detail):
            return Reply("memory")
        return Reply("refused", kinds=_kinds(error), slug=error.slug, detail=error.detail)
    except MemoryError:
        return Reply("memory")
    except Exception as error:
        trace = "".join(traceback.format_exception(error))[-_TRACE:]
        status: Literal["memory", "failed"] = (
            "memory" if OUT_OF_MEMORY.search(str(error)) else "failed"
        )
        return Reply(status, detail=trace)


def _kinds(error: AtelierError) -> list[str]:
    """Names of the error's class and its bases, nearest first: the parent may know only one."""
    return [
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in type(error).__mro__
        if issubclass(kind, AtelierError)
    ]


def _touch(target: Target, order: Order) -> None:
    """Do now whatever would import or open something later."""
    for kind in target.types:
        try:
            msgspec.convert(object(), kind)
        except msgspec.ValidationError:
            continue
    try:
        raise LookupError  # noqa: TRY301 - formatting a traceback loads what formatting needs
    except LookupError as error:
        traceback.format_exception(error)
    if order.warm_up is not None:
        warm_up = Target(order.warm_up)
        warm_up.function(*warm_up.convert(order.warm_up_args))
