"""Files of steps and uploads, kept by content in a folder or an object store (whatever fsspec can reach)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from stepwell.errors import Fail, FieldProblem, InvalidInput, NotFound, SettingsError, Unavailable

_PIECE = 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FsspecFileStore:
    """`FileStore` under `url`: a folder's path, `file://…`, `s3://bucket/folder`, `memory://…`.

    A file is written under a temporary name in `incoming/` and moved to `<first two digits>/<sha256>` when it is
    whole, so that nobody ever sees a part of one. Memory use does not depend on the size of files. A file was put
    when it was last written, as its folder tells; `now` is what that is compared with, in seconds since 1970.
    """

    def __init__(self, url: str, now: Callable[[], float] = time.time) -> None:
        self._url, self._now = url, now
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise SettingsError(f"FILES_URL {url!r} needs a package that is not installed: {error}") from error
        except ValueError as error:
            raise SettingsError(f"FILES_URL {url!r} is no place for files: {error}") from error
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def put(self, source: Path) -> Mapping[str, Any]:
        """See `FileStore.put`. Raises `InvalidInput` for links, folders and devices."""
        incoming = f"{self._root}/incoming/{uuid.uuid4().hex}"
        with _regular_file(source) as reader, self._available():
            try:
                size, sha256 = self._write(reader, incoming)
                self._settle(incoming, sha256)
            except BaseException:
                with suppress(OSError):
                    self._fs.rm_file(incoming)
                raise
        return {"size": size, "sha256": sha256}

    def fetch(self, sha256: str, target: Path) -> None:
        """Write a kept file to `target`, whole or not at all; its folder is made.

        Raises `NotFound`, and `Fail` (code `file_damaged`) if the kept content is not what it was.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f".{uuid.uuid4().hex}.part"
        try:
            with self._available(sha256), self._fs.open(self._path(sha256), "rb") as reader, partial.open("xb") as out:
                _, found = _copy(reader, out)
            if found != sha256:
                raise Fail(f"the kept file {sha256} is damaged in {self._url}", code="file_damaged", retryable=False)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, sha256: str, unless_newer_than: float = 0.0) -> None:
        """See `FileStore.remove`."""
        with suppress(NotFound):
            path = self._path(sha256)
            with self._available(sha256), self._turn():
                if not unless_newer_than or self._age(self._fs.info(path)) >= unless_newer_than:
                    self._fs.rm_file(path)

    def old(self, prefix: str, seconds: float) -> Sequence[str]:
        """See `FileStore.old`."""
        names = (Path(path).name for path in self._older(prefix, seconds))
        return sorted(name for name in names if _SHA256.fullmatch(name))

    def clear_incoming(self, seconds: float) -> None:
        """See `FileStore.clear_incoming`."""
        for path in self._older("incoming", seconds):
            with suppress(NotFound), self._available(path):
                self._fs.rm_file(path)

    def _write(self, reader: BinaryIO, path: str) -> tuple[int, str]:
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        with self._fs.open(path, "wb") as out:
            size, sha256 = _copy(reader, out)
            if self._is_local:
                out.flush()
                os.fsync(out.fileno())
        return size, sha256

    def _settle(self, incoming: str, sha256: str) -> None:
        """Move a whole file to its place, also where it is kept already: that makes it new again."""
        path = self._path(sha256)
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        with self._turn():
            self._fs.mv(incoming, path)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Nobody puts a file between the look at its age and its removal; an object store has no means to see to it."""
        if not self._is_local:
            yield
            return
        with Path(self._root, ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _older(self, folder: str, seconds: float) -> list[str]:
        """The paths of the files in a folder that were written longer ago than so many seconds."""
        with suppress(NotFound), self._available(folder):
            found = self._fs.ls(f"{self._root}/{folder}", detail=True)
            return [info["name"] for info in found if info["type"] == "file" and self._age(info) > seconds]
        return []

    def _age(self, info: Mapping[str, Any]) -> float:
        match info:
            case {"mtime": float() as written}:  # of a local folder
                return self._now() - written
            case {"LastModified": datetime() as moment}:  # of S3, which would ask for each file otherwise
                return self._now() - moment.timestamp()
        modified: datetime = self._fs.modified(info["name"])
        return self._now() - modified.timestamp()

    def _path(self, sha256: str) -> str:
        """Raises `NotFound` for anything but a hash, so that no name leads out of the store."""
        if not _SHA256.fullmatch(sha256):
            raise NotFound("file", sha256)
        return f"{self._root}/{sha256[:2]}/{sha256}"

    @contextmanager
    def _available(self, sha256: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if sha256 and isinstance(error, FileNotFoundError):
                raise NotFound("file", sha256) from error
            raise Unavailable(f"the files in {self._url} cannot be used: {error}") from error


@contextmanager
def _regular_file(source: Path) -> Iterator[BinaryIO]:
    """A file opened for reading; links are not followed, and nothing that could block is opened."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFound("file", str(source)) from error
    except OSError as error:
        raise InvalidInput([FieldProblem("files", f"{source} cannot be kept: {error.strerror}")]) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidInput([FieldProblem("files", f"{source} cannot be kept: it is no regular file")])
    with os.fdopen(descriptor, "rb") as reader:
        yield reader


def _copy(reader: BinaryIO, out: BinaryIO) -> tuple[int, str]:
    """Copy piece by piece; answers size and hash of what was copied."""
    digest, size = hashlib.sha256(), 0
    while piece := reader.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        out.write(piece)
    return size, digest.hexdigest()
