"""The work folder of one attempt: made when first asked for, its files kept by globs, gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepwell.errors import Fail
from stepwell.ports import FileStore

Files = Mapping[str, Mapping[str, Any]]
"""Relative path → `{size, sha256}`."""


class WorkFolder:
    """A folder under `root` (the system's temporary folder by default) that exists once `path` was asked for."""

    def __init__(self, files: FileStore, restore: Sequence[Files] = (), keep: Sequence[str] = ()) -> None:
        self._files, self._restore, self._keep = files, restore, keep
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The folder; made at the first call."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="stepwell-"))
        return self._path

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
