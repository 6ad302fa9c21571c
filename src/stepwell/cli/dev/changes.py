"""Which Python files of the project changed: their times are looked at, since that works on every file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

LEFT_OUT = frozenset({"__pycache__", "data", "node_modules"})
"""Folders without code of the project; so are virtual environments, and those whose names begin with a dot."""

VENV = "pyvenv.cfg"
"""A file that every virtual environment has."""

SETTINGS = ".env"


class Changes:
    """Looks at the `*.py` of a folder and all below, and at `.env`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = self._last = self._look()

    def settled(self) -> list[str]:
        """The files that changed since this answered any, once two calls saw the same; else nothing.

        Editors and `git` write many files one after the other: a look in between would see a half of them.
        """
        before, self._last = self._last, self._look()
        if self._last == self._known or self._last != before:
            return []
        known, self._known = self._known, self._last
        return sorted(os.path.relpath(path, self._folder) for path, _ in known.items() ^ self._last.items())

    def _look(self) -> Mapping[str, tuple[int, int]]:
        return dict(_stamps(self._folder))


def _stamps(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for path in _files(folder):
        try:
            status = os.stat(path)
        except OSError:  # it is gone by now, or a link that leads nowhere
            continue
        yield path, (status.st_mtime_ns, status.st_size)


def _files(folder: Path) -> Iterator[str]:
    yield str(folder / SETTINGS)
    for where, folders, files in os.walk(folder):
        if VENV in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(".")]
        yield from (os.path.join(where, name) for name in files if name.endswith(".py"))
