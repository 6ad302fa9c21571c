"""Files of steps and uploads, kept by content in a folder or an object store (whatever fsspec can reach)."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
    whole, so that nobody ever sees a part of one. Memory use does not depend on the size of files.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise SettingsError(f"FILES_URL {url!r} needs a package that is not installed: {error}") from error
        except ValueError as error:
            raise SettingsError(f"FILES_URL {url!r} is no place for files: {error}") from error
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def put(self, source: Path) -> Mapping[str, Any]:
        """Keep a file; answers `{size, sha256}`. Raises `InvalidInput` for links, folders and devices."""
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

    def remove(self, sha256: str) -> None:
        """Forget a file; nothing happens if there is none."""
        with suppress(NotFound), self._available(sha256):
            self._fs.rm_file(self._path(sha256))

    def _write(self, reader: BinaryIO, path: str) -> tuple[int, str]:
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        with self._fs.open(path, "wb") as out:
            size, sha256 = _copy(reader, out)
            if self._is_local:
                out.flush()
                os.fsync(out.fileno())
        return size, sha256

    def _settle(self, incoming: str, sha256: str) -> None:
        path = self._path(sha256)
        if self._fs.exists(path):
            self._fs.rm_file(incoming)
            return
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        self._fs.mv(incoming, path)

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
