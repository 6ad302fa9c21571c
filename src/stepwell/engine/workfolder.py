"""The work folder of one attempt: made when first asked for, its files kept by globs, gone afterwards."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepwell.errors import Fail
from stepwell.ports import FileStore

Files = Mapping[str, Mapping[str, Any]]
"""Relative path → `{size, sha256}`."""

_HOST = socket.gethostname()
_STARTED = time.time()
_SETTLED = 60.0
"""Seconds after its last change before a folder is taken for abandoned."""


class WorkFolder:
    """A folder under `root` (the system's temporary folder by default) that exists once `path` was asked for."""

    def __init__(self, files: FileStore, restore: Sequence[Files] = (), keep: Sequence[str] = ()) -> None:
        self._files, self._restore, self._keep = files, restore, keep
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The folder; made at the first call."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix=f"stepwell-{os.getpid()}-{_HOST}-"))
        return self._path

    @property
    def in_use(self) -> bool:
        """Whether there is anything to restore, keep or remove."""
        return bool(self._restore or self._keep or self._path)

    def restore(self) -> None:
        """Bring the files of earlier steps back to the same paths. Raises `Fail` if two have the same path."""
        placed: set[str] = set()
        for files in self._restore:
            for name, about in files.items():
                if name in placed:
                    message = f"two of the files to restore are called {name!r}: give them different names"
                    raise Fail(message, code="files", retryable=False)
                placed.add(name)
                self._files.fetch(about["sha256"], self.path / name)

    def collect(self) -> Files:
        """Keep what the globs match. Raises `Fail` if one matches nothing."""
        kept: dict[str, Mapping[str, Any]] = {}
        for pattern in self._keep:
            found = [path for path in sorted(self.path.glob(pattern)) if path.is_file()]
            if not found:
                raise Fail(f"no file in the work folder matches {pattern!r}", code="files", retryable=False)
            kept.update((path.relative_to(self.path).as_posix(), self._files.put(path)) for path in found)
        return kept

    def remove(self) -> None:
        """Remove the folder and all in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)


def remove_abandoned() -> None:
    """Remove the work folders that processes of this user left on this host when they died.

    A folder names its process and its host: in a container with a temporary folder from outside, the numbers of
    other containers' processes mean nothing.
    """
    ours = re.compile(rf"stepwell-(\d{{1,9}})-{re.escape(_HOST)}-[^-]+")
    for folder in Path(tempfile.gettempdir()).glob("stepwell-*"):
        found = ours.fullmatch(folder.name)
        if found and _is_abandoned(folder, int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path, process: int) -> bool:
    try:
        about = folder.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mtime > time.time() - _SETTLED:
        return False
    if process == os.getpid():  # in a container the next process often has the number of the one before
        return about.st_mtime < _STARTED
    return not _is_alive(process)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
