"""Standard logging to the console and to `<data>/logs/<role>.log`, without secrets.

Every line has one shape and the request's id. Knows no role and no framework; `uvicorn`, `celery`
and `django` log through the root logger that is set up here.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterable
from contextvars import ContextVar
from io import TextIOBase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import unquote, urlsplit

import orjson

from atelier.observe import audit, requester
from atelier.observe.handlers import ConsoleHandler, FileHandler

if TYPE_CHECKING:
    from atelier.settings import Settings

AUDIT_FILE = "audit.log"  # of all roles together
AUDIT_FILES_KEPT = 50  # rotated ones: about two million events, which nobody wants to lose
SECRET_CHARACTERS = 8  # shorter secrets are masked in URLs only
BLOB_CHARACTERS = 200  # a longer run of base64 or hex is a picture or a key, not a message

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:=+/-]{1,64}")  # of a client's choice
# 32 hex digits while a span is open.
trace_id: ContextVar[str] = ContextVar("trace_id", default="")

# Their INFO is a line per request or picture.
QUIET = (
    "uvicorn",
    "httpx2",
    "httpcore",
    "httpcore2",
    "urllib3",
    "PIL",
    "pyvips",
)
LINE = "_atelier_line"  # of a record: the finished line
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Where PostgreSQL and its drivers name the values of a failed statement, and what may follow them.
# Line ends may be written out (a message is one line); an exception group draws a margin.
_VALUES = (
    r"(\[parameters: |DETAIL: +(?! |Process \d)|CONTEXT: +(?=JSON data|COPY )|LINE \d+: "
    r"|invalid input (?:syntax|value)? ?for [^:\n]*: |malformed \w+ literal: "
    r"|field value out of range: |value (?=\"[^\"\n]*\" is out of range))"
)
_AFTER_VALUES = (
    r"(?=(?:\n|\\n)[ |]*(?:DETAIL|HINT|QUERY|CONTEXT|LOCATION): "
    r"|(?:\n|\\n)[ |]*(?:\[SQL|\(Background on)"
    r"|\n[ |]*\n[ |]*(?:The above exception|During handling)"
    r"|\n[ |+]*(?:Exception Group )?Traceback \(|\n *\+-"
    r"|\" is out of range|\Z)"
)

# Pattern, replacement, and marks: wherever the pattern matches, the case-folded text contains one
# of the marks. Most lines contain none, and the searches would cost as much as the rest of a line.
# No mark has an i: a case-insensitive pattern matches the dotless one, which folding leaves as it
# is.
REDACTIONS = (
    (
        re.compile(r"\bey[JK][\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
        "***",
        ("eyj", "eyk"),
    ),  # a JSON Web Token
    (
        re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{20,}", re.IGNORECASE),
        r"\1 ***",
        ("bearer", "bas"),
    ),
    (re.compile(r"(://[^\s/:@]*:)[^\s/]+@"), r"\1***@", ("://",)),
    # a token in place of a user's name
    (re.compile(r"(https?://)[^\s/:@]+@", re.IGNORECASE), r"\1***@", ("http",)),
    (
        re.compile(
            r"""((?:password|passwd|secret|token|authorization|api[_-]?key)['"]?\s*[:=]\s*"""
            r"""(?:b?['"])?(?:(?:Bearer|Basic)\s+)?)"""
            r"""(?!\*\*\*)[^\s'",&}]+""",
            re.IGNORECASE,
        ),
        r"\1***",
        ("passw", "secret", "token", "author", "key"),
    ),
    (re.compile(r"\$argon2[a-z]*\$[\w+/=,$.-]*"), "$argon2***", ("$argon2",)),
    (
        re.compile(f"{_VALUES}.+?{_AFTER_VALUES}", re.DOTALL),
        r"\1***",
        ("[parameters", "detail:", "context:", "line ", "invalid input ", "literal: ", "out of "),
    ),
    (
        re.compile(r"""\bb(?:'(?:[^'\\]|\\.){64,}'|"(?:[^"\\]|\\.){64,}")"""),
        "<bytes>",
        ("b'", 'b"'),
    ),
    (re.compile(rf"[A-Za-z0-9+/_=-]{{{BLOB_CHARACTERS},}}"), "<data>", ("",)),
)


class RequestIds:
    """The ids of one server's requests, for log lines and responses; unique but not random."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4).encode()
        self._count = itertools.count(1)

    def pick(self, given: bytes) -> bytes:
        """Return the client's own id when it is well-formed, else a unique one."""
        if given and _REQUEST_ID.fullmatch(given):
            return given
        return b"%b-%x" % (self._prefix, next(self._count))


class Redactor:
    """Masks secrets in text: by their form, and those that the settings hold."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        self.known = tuple(sorted(known, key=len, reverse=True))  # one may contain another

    def __call__(self, text: str) -> str:
        """Return the text with `***` in place of each secret."""
        for secret in self.known:
            text = text.replace(secret, "***")
        folded = text.casefold()
        for pattern, replacement, marks in REDACTIONS:
            for mark in marks:
                if mark in folded:
                    text = pattern.sub(replacement, text)
                    break
        return text


def known_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the secret, the keys of S3 and the passwords inside URLs.

    Without those so short that they are words of ordinary lines.
    """
    urls = [
        settings.database_url,
        settings.migration_url,
        settings.admin_url,
        settings.redis_url,
        settings.amqp_url,
        settings.otlp_url,
    ]
    passwords = [urlsplit(url.get_secret_value()).password or "" for url in urls if url]
    whole = [
        one.get_secret_value()
        for one in (settings.secret, settings.s3_access_key, settings.s3_secret_key)
        if one
    ]
    found = {*whole, *passwords, *map(unquote, passwords)}
    return tuple(secret for secret in found if len(secret) >= SECRET_CHARACTERS)


class TextFormatter(logging.Formatter):
    """`2026-11-21T05:44:06.123Z INFO atelier.images [request id] message`, then the traceback."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("{asctime} {levelname} {name} [{request_id}] {message}", style="{")
        self.redact = redact
        self._second = (0, "")

    def formatTime(  # noqa: N802 - logging's hook
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """Format the time in UTC with milliseconds."""
        second = int(record.created)
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's hook
        """Format a message as one line: input from a client must not forge another line."""
        trace = trace_id.get()
        record.request_id = f"{request_id.get()} {trace}" if trace else request_id.get()
        if not record.message.isprintable():
            record.message = escaped(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the whole line, traceback included, without secrets.

        It is made once for console and file.
        """
        line: str | None = record.__dict__.get(LINE)
        if line is None:
            line = record.__dict__[LINE] = self.line(record)
        return line

    def line(self, record: logging.LogRecord) -> str:
        """Return the line that `format` caches."""
        return self.redact(super().format(record))


class JsonFormatter(TextFormatter):
    """One JSON object per line.

    It has time, level, role, logger, request_id, user, message, and the fields of `extra`.
    """

    def __init__(self, redact: Redactor, role: str) -> None:
        super().__init__(redact)
        self.role = role

    def line(self, record: logging.LogRecord) -> str:
        """Encode as JSON; values that JSON lacks become text."""
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "role": self.role,
            "logger": record.name,
            "request_id": request_id.get(),
            "user": record.__dict__.get("user", requester.user_of_line()),
            "message": self.redact(record.getMessage()),
        }
        if trace := trace_id.get():
            line["trace_id"] = trace
        if record.exc_info:
            line["exception"] = self.redact(self.formatException(record.exc_info))
        for name in record.__dict__.keys() - STANDARD - line.keys():
            line[name] = self.redact(str(record.__dict__[name]))
        return orjson.dumps(line).decode()


def escaped(text: str) -> str:
    """Return the text on one line: control characters as Python writes them."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def setup(role: str, settings: Settings, *, console: TextIOBase | TextIO | None = None) -> None:
    """Send all logs of this process to the console (standard error) and to the role's file.

    May be called again. When the folder cannot be written, the process logs to the console alone
    and says so.
    """
    skip_lookups()
    formatter = _formatter(role, settings)
    handlers: list[logging.Handler] = [ConsoleHandler(cast("TextIO | None", console))]
    problem = None
    try:
        settings.logs_folder.mkdir(parents=True, exist_ok=True)
        handlers.append(FileHandler(settings.logs_folder / f"{role}.log"))
    except OSError as error:
        problem = error
    _install(handlers, formatter, settings.log_level)
    _install_audit([] if problem else [settings.logs_folder / AUDIT_FILE], formatter)
    # Its warnings are 4xx, which the access log has already.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    _report_unhandled()
    if problem:
        logging.getLogger(__name__).warning("no log file, console only: %s", problem)


def setup_audit(command: str, settings: Settings) -> None:
    """Send the audit events of an operator's command to `audit.log`; the console stays its own.

    Call it before anything is done: raises OSError when the folder cannot be written.
    """
    settings.logs_folder.mkdir(parents=True, exist_ok=True)
    _install_audit([settings.logs_folder / AUDIT_FILE], _formatter(command, settings))


def _formatter(role: str, settings: Settings) -> TextFormatter:
    redact = Redactor(known_secrets(settings))
    return JsonFormatter(redact, role) if settings.log_format == "json" else TextFormatter(redact)


def _install(handlers: list[logging.Handler], formatter: logging.Formatter, level: str) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    # DEBUG is for our own code only: libraries log values.
    root.setLevel(max(logging.INFO, logging.getLevelName(level)))
    logging.getLogger("atelier").setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _install_audit(files: Iterable[Path], formatter: logging.Formatter) -> None:
    """Write events of the audit log to a file of their own as well, whatever `log_level` is."""
    log = logging.getLogger(audit.NAME)
    for old in log.handlers[:]:
        log.removeHandler(old)
        old.close()
    for path in files:
        handler = FileHandler(path, kept=AUDIT_FILES_KEPT, delay=True)
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.setLevel(logging.INFO)


def skip_lookups() -> None:
    """Skip the look-up of caller, thread and process for each line: no line shows them."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _report_unhandled() -> None:
    """Log tracebacks of the main thread, other threads and finalisers; asyncio logs its own."""
    log = logging.getLogger("atelier.unhandled")
    logging.captureWarnings(capture=True)

    def of_main(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            log.critical("unhandled exception", exc_info=(kind, error, traceback))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.critical(
                "unhandled exception in a thread",
                exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
            )

    def of_finaliser(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("exception that no code could catch: %s", args.err_msg, exc_info=info)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_main, of_thread, of_finaliser
