"""The folder of backups: whole ones, unfinished ones, and the blobs that they share.

    FOLDER/blobs/                    every blob of every backup, by key; written once
    FOLDER/20261121T133000Z/         a whole backup: manifest.json, blobs.sha256
                                     (for `sha256sum -c`), tables/*.copy.gz
    FOLDER/20261121T140000Z.part/    one that was killed: never restored, removed by
                                     the next backup that succeeds

The manifest is written last and the folder gets its name after that, so a name without `.part` is
a whole backup. Every blob is on the list of a backup, whole or not, before it is copied, so no
blob here is ever without an owner. Knows no database and no store.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from atelier.disk import fsync, lock
from atelier.errors import AtelierError

FORMAT = 1  # of the manifest; a restore refuses a later one
UNFINISHED = ".part"
BLOBS, LOCK, MANIFEST, LIST, WANTED, TABLES = (
    "blobs",
    "lock",
    "manifest.json",
    "blobs.sha256",
    "wanted.sha256",
    "tables",
)
NAME = "%Y%m%dT%H%M%SZ"
BETWEEN = "  "  # between digest and key on a line, as in sha256sum's output
UNKNOWN = "-"  # the digest of a blob that is not recorded


class BackupError(AtelierError):
    """The backup cannot be made or restored."""

    slug = "backup"


class Table(msgspec.Struct, frozen=True):
    """One table's rows: `tables/NAME.copy.gz` in COPY's text form."""

    name: str
    columns: list[str]
    rows: int
    sha256: str


class Sequence(msgspec.Struct, frozen=True):
    """The next value of an identity column."""

    table: str
    column: str
    last: int
    called: bool


class Manifest(msgspec.Struct, frozen=True):
    """The contents of a backup; a backup without a manifest is not whole."""

    format: int
    made_at: datetime
    atelier: str
    postgres: str
    alembic: str
    django: list[str]
    position: int
    tables: list[Table]
    sequences: list[Sequence]
    blobs: int
    bytes: int
    blobs_sha256: str
    missing: list[str] = []
    corrupt: list[str] = []


class Archive:
    """The backups of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.blobs = self.folder / BLOBS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if missing, and keep every other backup out of it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = lock(self.folder / LOCK)
        except BlockingIOError:
            raise BackupError(
                f"another backup is being made in {self.folder}: wait for it"
            ) from None
        with os.fdopen(descriptor):
            yield

    def whole(self) -> list[Path]:
        """Return the whole backups, oldest first."""
        return sorted(
            path.parent
            for path in self.folder.glob(f"*/{MANIFEST}")
            if not _unfinished(path.parent)
        )

    def pick(self, name: str | None) -> Path:
        """Return the backup of that name, or the newest."""
        whole = {path.name: path for path in self.whole()}
        if not whole:
            raise BackupError(f"{self.folder} holds no whole backup")
        if name is not None and name not in whole:
            raise BackupError(
                f"no whole backup {name} in {self.folder}; there are: {', '.join(whole)}"
            )
        return whole[name] if name else list(whole.values())[-1]

    def draft(self, now: datetime) -> Path:
        """Make the folder of a new backup, named after the first free second from now on."""
        while True:
            name = now.astimezone(UTC).strftime(NAME)
            draft = self.folder / f"{name}{UNFINISHED}"
            if not draft.exists() and not (self.folder / name).exists():
                # For this user alone, whatever the mode of the parent: it holds password hashes.
                draft.mkdir(0o700)
                (draft / TABLES).mkdir()
                return draft
            now += timedelta(seconds=1)

    def finish(self, draft: Path, manifest: Manifest) -> Path:
        """Make a draft a whole backup, on disk on return."""
        (draft / WANTED).unlink()
        (draft / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        for path in [
            *(draft / TABLES).iterdir(),
            draft / LIST,
            draft / MANIFEST,
            draft / TABLES,
            draft,
        ]:
            fsync(path)
        target = draft.rename(draft.with_suffix(""))
        fsync(self.folder)
        return target

    def unfinished(self) -> list[Path]:
        """Return the folders that killed backups have left."""
        return [
            path for path in sorted(self.folder.iterdir()) if path.is_dir() and _unfinished(path)
        ]

    def demote(self, backup: Path) -> None:
        """Mark a whole backup as unfinished: the first step of its removal."""
        backup.rename(backup.with_name(backup.name + UNFINISHED))

    def remove(self, backup: Path) -> None:
        """Remove an unfinished backup whose blobs have been dealt with."""
        shutil.rmtree(backup)
        fsync(self.folder)

    def unneeded(self, gone: Path) -> Iterator[str]:
        """Yield the blobs of an unfinished backup that no whole one has.

        Flat memory, because all lists are sorted.
        """
        kept = heapq.merge(*(keys(path) for path in self.whole()))
        there = next(kept, None)
        for key in keys(gone):
            while there is not None and there < key:
                there = next(kept, None)
            if key != there:
                yield key


def read_manifest(backup: Path) -> Manifest:
    """Read the manifest. Raises BackupError when this version cannot read it."""
    try:
        raw = (backup / MANIFEST).read_bytes()
        found = msgspec.json.decode(raw, type=dict).get("format")
        if isinstance(found, int) and found > FORMAT:
            raise BackupError(
                f"{backup} was made by a newer Atelier (form {found}, known here: {FORMAT})"
            )
        return msgspec.json.decode(raw, type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"the manifest of {backup} cannot be read: {error}") from error


def verify(backup: Path, manifest: Manifest) -> None:
    """Compare the digests of everything but the blobs. Raises BackupError."""
    expected = {table_file(backup, table.name): table.sha256 for table in manifest.tables}
    expected[backup / LIST] = manifest.blobs_sha256
    for path, sha256 in expected.items():
        if not path.is_file() or digest(path) != sha256:
            raise BackupError(f"{path} is not what its manifest says: restore another backup")


def table_file(backup: Path, name: str) -> Path:
    """The path of a table's rows."""
    return backup / TABLES / f"{name}.copy.gz"


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield key and digest of each line of a list, in the order of keys."""
    with suppress(FileNotFoundError), path.open(encoding="ascii") as file:
        for line in file:
            sha256, _, key = line.rstrip("\n").partition(BETWEEN)
            yield key, sha256


def line(key: str, sha256: str) -> str:
    """Format one line of a list."""
    return f"{sha256}{BETWEEN}{key}\n"


def keys(backup: Path) -> Iterable[str]:
    """The blobs of a backup; of an unfinished one all that it was to have."""
    wanted = backup / WANTED
    return (key for key, _ in lines(wanted if wanted.exists() else backup / LIST))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unfinished(path: Path) -> bool:
    return path.name.endswith(UNFINISHED)
