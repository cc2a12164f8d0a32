"""Makes the secrets of a fresh `docker compose up` and gives each service only its settings.

Runs once before everything else, as root with no more than the right to give files away. What is
there stays: engines remember the password with which they were first started. What the environment
brings (`.env`) wins.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import quote

from atelier.settings import needs

KEYS = Path("/keys")  # a volume for each service below it
KEPT = KEYS / "kept"  # the secrets themselves, mounted nowhere else
ATELIER = (10001, 10001)  # user and group of Atelier's images
PROXY = (10002, 10001)  # the proxy reads what the group may read
ROOT = (0, 0)  # the entry points of engines read as root, then drop it
BYTES = 32

MADE = {"database_url", "migration_url", "redis_url", "amqp_url", "secret"}  # of what is made here
SERVICES = {
    role: tuple(sorted(MADE & needs.secrets_of(role, rabbitmq=True))) for role in needs.NEEDS
} | {
    "migrate": tuple(sorted(MADE & needs.OPERATOR)),  # also the operator's shell
}
PROVISION = ("admin_url", "database_url", "migration_url")  # of the container that makes the roles
FOLDERS = {"/data": ATELIER, "/blobs": ATELIER, "/spool": PROXY}


def main() -> None:
    """Keep or make the secrets, write each service's settings, and give away the folders."""
    known = {
        name: secret(name)
        for name in (
            "secret",
            "postgres_password",
            "postgres_owner_password",
            "postgres_app_password",
            "redis_password",
            "rabbitmq_password",
        )
    }
    values = settings(known)
    for service, names in (SERVICES | {"provision": PROVISION}).items():
        lines = "".join(f'{name}: "{values[name]}"\n' for name in names)
        write(KEYS / service / "atelier.yaml", lines, ATELIER, 0o400)
    write(KEYS / "postgres" / "password", known["postgres_password"], ROOT, 0o400)
    write(KEYS / "rabbitmq" / "password", known["rabbitmq_password"], ROOT, 0o400)
    # Redis reads it after it has left root, under a user that differs from image to image; it
    # is mounted nowhere else.
    write(KEYS / "redis" / "redis.conf", f'requirepass "{known["redis_password"]}"\n', ROOT, 0o444)
    for folder, (user, group) in FOLDERS.items():
        os.chown(folder, user, group)
        Path(folder).chmod(0o750)


def secret(name: str) -> str:
    """The secret that is given, else the one that was made, else a new one."""
    path = KEPT / name
    given = os.environ.get(f"ATELIER_{name}".upper(), "")
    if '"' in given or "\\" in given or not given.isprintable():
        raise SystemExit(
            f"ATELIER_{name.upper()}: choose one without quotes, backslashes and control "
            "characters"
        )
    value = given or (path.read_text() if path.exists() else secrets.token_hex(BYTES))
    write(path, value, ROOT, 0o400)
    return value


def settings(known: dict[str, str]) -> dict[str, str]:
    """The settings that hold a secret."""
    text = {
        name.removesuffix("_password"): quote(value, safe="")
        for name, value in known.items()
        if name.endswith("_password")
    }
    database = "postgres:5432/atelier"
    return {
        "admin_url": f"postgresql://atelier:{text['postgres']}@{database}",
        "migration_url": f"postgresql://atelier_owner:{text['postgres_owner']}@{database}",
        "database_url": f"postgresql://atelier_app:{text['postgres_app']}@{database}",
        "redis_url": f"redis://:{text['redis']}@redis:6379/0",
        "amqp_url": f"amqp://atelier:{text['rabbitmq']}@rabbitmq:5672",
        "secret": known["secret"],
    }


def write(path: Path, text: str, owner: tuple[int, int], mode: int) -> None:
    """Whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chown(temporary, *owner)
    temporary.chmod(mode)
    temporary.replace(path)


if __name__ == "__main__":
    main()
