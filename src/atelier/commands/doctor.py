"""`atelier doctor`: every setting with its source, and whether what it names can be reached.

Changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from atelier import bootstrap
from atelier.commands import identity
from atelier.commands.jobs import waiting_files
from atelier.errors import AtelierError, Conflict, Unavailable
from atelier.observe.health import PortTaken
from atelier.observe.logs import Redactor, known_secrets
from atelier.sandbox.seccomp import seccomp_available
from atelier.settings import Settings
from atelier.startup import reachability
from atelier.startup.folders import existing, require_blobs, require_usable
from atelier.startup.fonts import require_font, unshaped
from atelier.up.engines import running
from atelier.up.engines.binaries import find_postgres, find_valkey
from atelier.up.engines.errors import from_os_error
from atelier.up.engines.process import lock_owner
from atelier.up.health import is_healthy
from atelier.up.preflight import DISK_BYTES, LOCK, SECRET, free_port, require_two_ports
from atelier.up.screen import address

CONNECT_SECONDS = 5
OLDEST_POSTGRES = 15
CIPHERS = "cryptography"  # the package that pypdf takes them from
OK, WARNING, FAILED = "ok", "warning", "FAILED"
# The resources of each role: its container has these settings, and no embedded engines.
NEEDS: dict[str | None, tuple[str, ...]] = {
    "api": ("user", "data", "database", "redis", "bus", "blobs", "secret", "port", "files"),
    "processor": ("user", "data", "redis", "bus", "blobs", "font", "shaping", "sandbox"),
    "archiver": ("user", "data", "database", "redis", "blobs"),
    "relay": ("user", "data", "database", "redis", "bus", "blobs", "files"),
    "grpc": ("user", "data", "database", "redis", "bus", "secret", "grpc port"),
    "files": ("user", "data", "database", "redis", "bus", "blobs", "sandbox", "pdf", "files"),
    "migrate": (
        "user",
        "data",
        "database",
        "redis",
        "bus",
        "blobs",
        "files",
    ),  # the operator's commands
}
CLAIMING = {"api", "archiver", "relay", "migrate", None}  # can ask the database for its store


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    verdict: str
    detail: str


def main(settings: Settings) -> int:
    """Print all findings; return 1 when one is a failure."""
    # A client's log lines would be a second, rawer account of a check's one sentence.
    logging.disable()
    supervisor = lock_owner(settings.data / LOCK)
    seen = settings if supervisor is None else _as_it_runs(settings)
    redact = Redactor(known_secrets(seen))
    try:
        findings = examine(seen, supervisor)
    finally:
        logging.disable(logging.NOTSET)
    lines = ["Settings", *setting_lines(settings, seen, redact), "", "Checks"]
    lines += [
        f"  {found.verdict:<8} {found.name:<10} {redact(found.detail)}" for found in findings
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(found.verdict == FAILED for found in findings))


def setting_lines(settings: Settings, seen: Settings, redact: Redactor) -> list[str]:
    """Format name, value and source of each setting, in columns.

    `seen` are the settings of the running instance.
    """
    rows = [(name, redact(shown(getattr(seen, name)))) for name in type(settings).model_fields]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    values = min(values, 60)  # one long path must not push every source off the screen
    sources = {
        name: source if getattr(seen, name) == getattr(settings, name) else "the running instance"
        for name, source in settings.sources().items()
    }
    kept = settings.data.absolute() / SECRET
    if settings.secret is None and kept.exists():
        rows = [(name, "***" if name == "secret" else value) for name, value in rows]
        sources["secret"] = f"kept by `atelier up` ({kept})"
    return [f"  {name:<{names}}  {value:<{values}}  {sources[name]}" for name, value in rows]


def shown(value: object) -> str:
    """Format a value as an operator would write it, with secrets and passwords masked."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return text if "://" in text else "***"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "-" if value is None else str(value)


def examine(settings: Settings, supervisor: int | None) -> list[Finding]:
    """Check each resource once; the failure of one does not stop the others.

    Where `atelier up` runs on the data folder (`supervisor` is its pid), its engines and ports are
    checked, not those of the next start. With a role only its resources are checked.
    """
    looks: dict[str, Callable[[Settings], Finding | str]] = {
        "user": _user,
        "data": _data,
        "database": _database,
        "redis": _redis,
        "bus": _bus,
        "blobs": _blobs,
        "secret": _secret,
        "port": _port,
        "grpc port": _grpc_port,
        "font": _font,
        "shaping": _shaping,
        "files": _files,
        "sandbox": _seccomp,
        "pdf": _pdf,
    }
    found = [_look(name, looks[name], settings) for name in NEEDS.get(settings.role, tuple(looks))]
    if settings.role is not None:
        return found
    instance = "not running" if supervisor is None else f"running as process {supervisor}"
    return [Finding("instance", OK, instance), *found]


def _as_it_runs(settings: Settings) -> Settings:
    """The settings with the addresses that the running instance wrote down."""
    found: dict[str, object] = {}
    for name in ("database_url", "migration_url", "redis_url"):
        if getattr(settings, name) is None and (url := running.noted(settings.data, name)):
            found[name] = SecretStr(url)
    for name in ("port", "grpc_port"):
        if port := running.noted(settings.data, name):
            found[name] = int(port)
    return settings.model_copy(update=found)


def _embedded(settings: Settings, name: str) -> str:
    """Describe an engine that `atelier up` runs."""
    url: SecretStr | None = getattr(settings, name)
    return (
        ", embedded"
        if url and url.get_secret_value() == running.noted(settings.data, name)
        else ""
    )


def _look(name: str, look: Callable[[Settings], Finding | str], settings: Settings) -> Finding:
    try:
        found = look(settings)
        return found if isinstance(found, Finding) else Finding(name, OK, found)
    except AtelierError as error:
        return Finding(name, FAILED, error.detail or error.title)
    except Exception as error:
        return Finding(name, FAILED, _one_line(error))


def _data(settings: Settings) -> str:
    folder = existing(settings.data)
    try:
        require_usable(settings.data)
    except OSError as error:
        raise from_os_error(error, folder) from error
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES:
        raise AtelierError(f"the disk of {folder} has {free // 1024**2} MiB left")
    new = "" if folder == settings.data.absolute() else " (will be made)"
    return f"{settings.data.absolute()}{new}, {free / 1024**3:.1f} GiB free"


def _user(settings: Settings) -> Finding:
    text, sound = identity.process_user(settings)
    return Finding("user", OK if sound else WARNING, text)


def _database(settings: Settings) -> str | Finding:
    if settings.database_url is None and settings.role is None:
        folder = find_postgres(settings.postgres_bin)
        return f"embedded: {_output(folder / 'postgres')} in {folder}"
    url = bootstrap.database_url(settings)
    version = reachability.postgres_version(settings, url)
    if version < OLDEST_POSTGRES:
        raise AtelierError(f"PostgreSQL {version} answers; {OLDEST_POSTGRES} or later is needed")
    answer = f"PostgreSQL {version} answers{_embedded(settings, 'database_url')}"
    name, powers = identity.database_role(url)
    if powers is identity.Powers.ALL:
        return Finding(
            "database", WARNING, f"{answer}; {name} is a superuser: `atelier provision`"
        )
    return f"{answer}, as {name}{powers.value}"


def _redis(settings: Settings) -> str:
    if settings.redis_url is None and settings.role is None:
        program = find_valkey(settings.valkey_bin)
        return f"embedded: {_output(program)} at {program}"
    if settings.role == "files" and settings.amqp_url is not None:
        return "not needed: jobs travel on RabbitMQ"
    facts = reachability.redis_facts(settings, bootstrap.redis_url(settings))
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise AtelierError(
            f"its maxmemory-policy is {policy}: a queue needs noeviction, or jobs vanish"
        )
    memory = facts.get("maxmemory") or 0
    if 0 < memory < 2 * settings.cache_bytes:
        raise AtelierError(
            f"its maxmemory is {memory}: a cache of {settings.cache_bytes} bytes (cache_bytes) "
            "leaves too little to the queues; half at most is right"
        )
    version = facts.get("valkey_version") or facts["redis_version"]
    return (
        f"{facts.get('server_name', 'redis')} {version} answers{_embedded(settings, 'redis_url')}"
    )


def _bus(settings: Settings) -> str:
    if settings.amqp_url is None:
        return "Redis Streams"
    reachability.greet_rabbitmq(settings, settings.amqp_url.get_secret_value())
    return "RabbitMQ answers"


def _blobs(settings: Settings) -> str:
    folder, writes = settings.blobs_folder, settings.role != "processor"
    require_blobs(settings, write=writes)
    place = settings.store if folder is None else folder.absolute()
    if settings.role not in CLAIMING:
        asyncio.run(_marked(settings))
        return f"{place} can be {'written' if writes else 'read'}"
    if folder is not None and not folder.exists():
        return f"{place} (will be made)"
    return f"{place} can be written{asyncio.run(_whose(settings))}"


async def _marked(settings: Settings) -> None:
    """Raise Unavailable for a store without a mark: it is new, or its volume is not mounted."""
    blobs = bootstrap.open_blobs(settings)
    if not await blobs.mark():
        raise Unavailable("the blob store has no mark: is the volume mounted?")
    if settings.role != "processor":
        await blobs.probe()


async def _whose(settings: Settings) -> str:
    """Check that the store is this database's, where one is running.

    Raises Unavailable and WrongStore.
    """
    from atelier.blobs import ownership
    from atelier.database import ERRORS, Database
    from atelier.roles.store import REFERENCED

    blobs = bootstrap.open_blobs(settings)
    await blobs.probe()
    if settings.database_url is None:
        return ""
    database = Database(settings.database_url.get_secret_value(), connections=1)
    try:
        marked = await ownership.belongs(database, blobs, REFERENCED)
    except (Unavailable, Conflict, *ERRORS):
        return ""  # the database's own line says more; or there are no tables yet
    finally:
        await database.close()
    return ", and belongs to the database" if marked else ", and will belong to the database"


def _secret(settings: Settings) -> str:
    if settings.secret is not None:
        return "set"
    if settings.role is not None:
        raise Unavailable("there is none: ATELIER_SECRET should be that of the other roles")
    path = settings.data / SECRET
    return f"kept in {path}" if path.exists() else f"`atelier up` will make one in {path}"


def _port(settings: Settings) -> str:
    require_two_ports(settings)
    if not settings.port:
        return f"any free port of {settings.host}"
    try:
        free_port(settings.host, settings.port, "port")
    except PortTaken:
        if asyncio.run(is_healthy(settings.host, settings.port)):
            return f"{address(settings)} answers"
        raise
    return f"{settings.host}:{settings.port} is free"


def _grpc_port(settings: Settings) -> str:
    if not settings.grpc_port:
        return f"any free port of {settings.host}"
    try:
        free_port(settings.host, settings.grpc_port, "grpc_port")
    except PortTaken:
        if lock_owner(settings.data / LOCK) is None and not _is_the_role(settings):
            raise
        return f"{settings.host}:{settings.grpc_port} is taken, by the running instance"
    return f"{settings.host}:{settings.grpc_port} is free"


def _is_the_role(settings: Settings) -> bool:
    """Return whether the gRPC service of these settings answers on its metrics port."""
    if settings.role != "grpc" or not settings.metrics_port:
        return False
    return asyncio.run(is_healthy(settings.host, settings.metrics_port))


def _font(settings: Settings) -> str:
    return f"{require_font(settings)} at {settings.caption_size} px"


def _shaping(_: Settings) -> Finding:
    flaw = unshaped()
    if flaw:
        return Finding("shaping", WARNING, flaw)
    return Finding("shaping", OK, "libfribidi lays captions out in every script")


def _files(settings: Settings) -> Finding:
    """Count the waiting jobs for files; their broker is checked under its own name."""
    broker = "redis" if settings.amqp_url is None else "bus"
    if settings.amqp_url is None and settings.redis_url is None and settings.role is None:
        return Finding("files", OK, "jobs will travel on the embedded Redis")
    try:
        count = waiting_files(settings)
    except Exception:
        return Finding("files", WARNING, f"the broker of their jobs does not answer: see {broker}")
    waiting = (
        "not looked at, for Celery is not installed here"
        if count is None
        else f"{count} jobs wait for a worker"
    )
    return Finding("files", OK, f"{waiting}, on {'Redis' if broker == 'redis' else 'RabbitMQ'}")


def _seccomp(_: Settings) -> Finding:
    if seccomp_available():
        return Finding("sandbox", OK, "seccomp confines the image decoders")
    return Finding("sandbox", WARNING, "no seccomp here: decoders are confined by limits alone")


def _pdf(_: Settings) -> Finding:
    if find_spec(CIPHERS):
        return Finding("pdf", OK, f"{CIPHERS} opens documents locked with AES")
    lost = f"{CIPHERS} is not installed: of PDFs locked with AES only that is reported"
    return Finding("pdf", WARNING, lost)


def _output(program: Path) -> str:
    done = subprocess.run(  # noqa: S603 - an engine that we looked up
        [program, "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=CONNECT_SECONDS,
    )
    if done.returncode:
        raise AtelierError(f"{program} does not run: {done.stderr.strip()}")
    return done.stdout.strip()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
