"""The blob store in a bucket of S3, or of a server that speaks its protocol.

Knows no folder but those of its sources. Calls block in threads of our own: obstore's coroutines
end in foreign threads, which abort an interpreter that exits meanwhile. A client is made when it
is first used, because its threads do not survive a fork.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from atelier.blobs import Stat, check_key, check_prefix, is_key
from atelier.disk import clear
from atelier.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, S3Config

INCOMING, MARK, PROBE = ".incoming", ".atelier", ".probe"  # no key begins with a dot
THREADS = 32  # each waits for the network, not for a core
CHUNK_BYTES = 256 * 1024  # least size of a piece of a stream: the thread hop is negligible
PART_BYTES = 8 * 1024 * 1024  # a larger file goes in parts of this size
PARTS = 4  # sent at once, so one upload takes up to four parts of memory
PAGE = 1000  # keys of one request, the most that S3 takes
CONNECT_SECONDS = 5
# For one request of at most a part; also how long a stream or a copy may stall.
REQUEST_SECONDS = 30
STREAM_SECONDS = 86_400  # for a whole stream, at the pace of its reader
RETRIES, RETRY_SECONDS = 3, 10  # of requests that failed without an effect
DOWN_SECONDS = 5  # after which a client may try again when the store does not answer
BROKEN_SECONDS = 60  # the same when an operator has to correct the settings
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REFUSED = re.compile(r"status code: 40[13]\b")
_CREDENTIALS_FROM = ("/latest/api/token", "/latest/meta-data")  # a machine's own role, asked last

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """The bucket and the credentials for it.

    Fields that are None come from `AWS_*` variables or the machine's own role.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


class S3Blobs:
    """Blobs as objects below `prefix` in `bucket`, one object per key.

    Any number of machines may use it at once.
    """

    def __init__(self, bucket: str, prefix: str = "", access: Access | None = None) -> None:
        self._bucket, self._prefix, self._access = bucket, prefix, access or Access()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    async def put(self, key: str, source: bytes | Path) -> None:
        """Store `source` durably; see `Blobs.put`.

        An equal blob under the key is no Conflict: it may come from our own retried request.
        """
        await self._run(self._put, check_key(key), source)

    async def get(self, key: str) -> bytes:
        """Return the whole blob."""
        return await self._run(self._get, check_key(key))

    async def stream(
        self, key: str, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` up to but without `stop`.

        A blob deleted meanwhile is still read to its end.
        """
        pieces = await self._run(self._open, check_key(key), start, stop)
        while piece := await self._run(_next_piece, pieces):
            yield piece

    async def stat(self, key: str) -> Stat:
        """Return size and time of one blob."""
        return await self._run(self._stat, check_key(key))

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete blobs durably; a missing one is no error."""
        await self._run(self._delete, [check_key(key) for key in keys])

    async def list(self, prefix: str = "") -> AsyncIterator[Stat]:
        """Yield every blob whose key begins with `prefix`, page by page.

        The store is asked for whole folders.
        """
        pages = await self._run(self._pages, check_prefix(prefix).rpartition("/")[0])
        while page := await self._run(_next_page, pages):
            for meta in page:
                if meta["path"].startswith(prefix) and is_key(meta["path"]):
                    yield _stat_of(meta["path"], meta)

    async def probe(self) -> None:
        """Try to create an object that exists: without permission that is refused first."""
        await self._run(self._probe)

    async def mark(self) -> bytes | None:
        """Return the text that `set_mark` stored."""
        with suppress(NotFound):
            return await self._run(self._get, MARK)
        return None

    async def set_mark(self, content: bytes) -> None:
        """Store the text that says whose store this is."""
        await self._run(self._set_mark, content)

    def path(self, key: str) -> None:
        """None: the blob is remote."""
        check_key(key)

    async def sweep_temporary(self, older_than: timedelta) -> int:
        """Remove objects in `.incoming` that killed processes left, of that age; return how many.

        Parts of uploads that were never completed are not listed: a life-cycle rule of the bucket
        removes them.
        """
        return await self._run(self._sweep, datetime.now(UTC) - older_than)

    async def _run(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    @cached_property
    def _store(self) -> S3Store:
        """The client for requests that move at most a part."""
        return self._client({"timeout": timedelta(seconds=REQUEST_SECONDS)})

    @cached_property
    def _patient(self) -> S3Store:
        """The client for streams and for copies within the store, which may take long."""
        limits = {
            "timeout": timedelta(seconds=STREAM_SECONDS),
            "read_timeout": timedelta(seconds=REQUEST_SECONDS),
        }
        return self._client(limits)

    def _client(self, limits: dict[str, timedelta]) -> S3Store:
        access = self._access
        named = {
            "endpoint": access.endpoint,
            "region": access.region,
            "access_key_id": access.access_key,
            "secret_access_key": access.secret_key,
        }
        config: S3Config = {  # type: ignore[assignment]
            name: value for name, value in named.items() if value is not None
        }
        client: ClientConfig = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            **limits,  # type: ignore[typeddict-item]
        }
        if (access.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")).startswith("http://"):
            client["allow_http"] = True  # the operator wrote `http://` on purpose
        with _translated():
            return S3Store(
                self._bucket,
                prefix=self._prefix or None,
                config=config,
                client_options=client,
                retry_config={
                    "max_retries": RETRIES,
                    "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                },
                copy_if_not_exists="multipart",
            )

    def _put(self, key: str, source: bytes | Path) -> None:
        try:
            if isinstance(source, bytes):
                self._create(key, source)
            elif source.stat().st_size <= PART_BYTES:
                self._create(key, source.read_bytes())
            else:
                self._create_in_parts(key, source)
        except Conflict:
            if not self._holds(key, source):
                raise
        if not isinstance(source, bytes):
            clear(source)

    def _holds(self, key: str, source: bytes | Path) -> bool:
        """Return whether the stored blob equals the source.

        An earlier request may have succeeded although its answer was lost.
        """
        with (
            _translated(reading=True),
            BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
        ):
            found = self._patient.get(key)
            if found.meta["size"] != file.seek(0, os.SEEK_END):
                return False
            file.seek(0)
            return all(
                file.read(len(piece)) == bytes(piece)
                for piece in found.stream(min_chunk_size=CHUNK_BYTES)
            )

    def _create(self, key: str, content: bytes) -> None:
        with _translated(), _taken_is_conflict():
            self._store.put(key, content, mode="create")

    def _create_in_parts(self, key: str, source: Path) -> None:
        """Upload under a temporary name, then copy within the store.

        Only the copy can be refused for a key that is taken.
        """
        temporary = f"{INCOMING}/{secrets.token_hex(16)}"
        with _translated():
            self._store.put(
                temporary, source, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=PARTS
            )
            try:
                with _taken_is_conflict():
                    self._patient.copy(temporary, key, overwrite=False)
            finally:
                with suppress(BaseError):  # `sweep_temporary` will remove it
                    self._store.delete(temporary)

    def _get(self, key: str) -> bytes:
        with _translated(reading=True):
            return bytes(self._store.get(key).bytes())

    def _open(self, key: str, start: int, stop: int | None) -> Iterator[bytes]:
        if stop is not None and stop <= start:
            self._stat(key)
            return iter(())
        with _translated(reading=True):
            if start == 0 and stop is None:
                found = self._patient.get(key)
            else:
                span: Any = {"offset": start} if stop is None else (start, stop)
                try:
                    found = self._patient.get(key, options={"range": span})
                except BaseError as error:
                    if _code(error) == "InvalidRange":  # the range begins beyond the blob
                        return iter(())
                    raise
        return map(bytes, iter(found.stream(min_chunk_size=CHUNK_BYTES)))

    def _stat(self, key: str) -> Stat:
        with _translated(reading=True):
            return _stat_of(key, self._store.head(key))

    def _delete(self, keys: Iterable[str]) -> None:
        with _translated():
            for page in _batched(dict.fromkeys(keys)):
                self._store.delete(page)

    def _pages(self, folder: str) -> Iterator[Iterable[ObjectMeta]]:
        return iter(self._store.list(folder or None, chunk_size=PAGE))

    def _probe(self) -> None:
        with suppress(Conflict):
            self._create(PROBE, b"")

    def _set_mark(self, content: bytes) -> None:
        with _translated():
            self._store.put(MARK, content)

    def _sweep(self, before: datetime) -> int:
        swept = 0
        with _translated():
            for page in self._store.list(INCOMING, chunk_size=PAGE):
                old = [meta["path"] for meta in page if meta["last_modified"] < before]
                self._store.delete(old)
                swept += len(old)
        return swept


def _next_piece(pieces: Iterator[bytes]) -> bytes | None:
    with _translated():
        return next(pieces, None)


def _next_page(pages: Iterator[Iterable[ObjectMeta]]) -> list[ObjectMeta] | None:
    with _translated():
        page = next(pages, None)
        return None if page is None else list(page)


def _batched(keys: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(keys)
    while page := list(islice(waiting, PAGE)):
        yield page


def _stat_of(key: str, meta: ObjectMeta) -> Stat:
    return Stat(key, meta["size"], meta["last_modified"].astimezone(UTC))


def _code(error: Exception) -> str:
    """The store's error code; empty without one."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


@contextmanager
def _taken_is_conflict() -> Iterator[None]:
    try:
        yield
    except AlreadyExistsError as error:
        raise Conflict("such a blob exists") from error


@contextmanager
def _translated(*, reading: bool = False) -> Iterator[None]:
    """Translate obstore's errors to ours.

    Details name neither bucket nor address: clients read them; the log has more.
    """
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        if reading and isinstance(error, FileNotFoundError) and _code(error) != "NoSuchBucket":
            raise NotFound("the content is gone") from error
        unusable = _unusable(error)
        log.warning("blobs: %s: %s", unusable.detail, str(error).partition("\n")[0])
        raise unusable from error


def _unusable(error: Exception) -> Unavailable:
    code, text = _code(error), str(error).partition("\n")[0]
    said = f" ({code})" if code else ""
    if isinstance(error, FileNotFoundError) or code == "NoSuchBucket":
        return Unavailable(
            f"the blob store's bucket does not exist{said}", retry_after=BROKEN_SECONDS
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _REFUSED.search(text):
        return Unavailable(
            f"the blob store refuses our credentials{said}", retry_after=BROKEN_SECONDS
        )
    if any(path in text for path in _CREDENTIALS_FROM):
        return Unavailable(
            "there are no credentials for the blob store", retry_after=BROKEN_SECONDS
        )
    return Unavailable(f"the blob store does not answer{said}", retry_after=DOWN_SECONDS)
