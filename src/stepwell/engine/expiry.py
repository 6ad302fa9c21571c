"""Removes what nobody needs any more: ended tasks, and the files that no task refers to."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from stepwell.ports import FileStore, TaskStore

SHORTEST = 3600.0
"""Files that no task refers to are kept for so many seconds at least: a step's record, or a task, may be on its way."""

INCOMING = 86400.0
"""Seconds after which an upload that is still incoming has been given up."""

TASKS = 100
"""So many tasks are purged at a time."""

FILES = 500
"""So many files are held against the store at a time."""

PREFIXES = 16
"""So many of the 256 groups of files, by the first digits of their hash, are looked through in one sweep."""


class Expiry:
    """Tasks go `result_ttl` seconds after their end; files so long after their last put, once no task refers to them.

    That a file was not put lately says that nobody is about to refer to it: each put of the same content, by a step
    or as an upload, makes it new again. Whatever a sweep leaves undone, because the process dies or a store does
    not answer, a later one finds: every file is looked at once in 16 sweeps. The file store must belong to this
    task store alone.
    """

    def __init__(
        self, store: TaskStore, files: FileStore, result_ttl: float, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._store, self._files, self._stopped = store, files, stopped
        self._ttl, self._unused_for = result_ttl, max(result_ttl, SHORTEST)
        self._next = random.randrange(256)  # so that processes that never live long get round all the same

    def sweep(self) -> None:
        """One round; raises `Unavailable` if a store does not answer."""
        self._purge()
        for _ in range(PREFIXES):
            if self._stopped():
                return
            self._remove_unused(self._files.old(f"{self._next:02x}", self._unused_for))
            self._next = (self._next + 1) % 256
        self._files.clear_incoming(INCOMING)

    def _purge(self) -> None:
        while not self._stopped():
            purged = self._store.purge(self._ttl, TASKS)
            self._remove_unused(purged.files)
            if not purged.tasks:
                return

    def _remove_unused(self, sha256s: Sequence[str]) -> None:
        for start in range(0, len(sha256s), FILES):
            for sha256 in self._store.unused(sha256s[start : start + FILES]):
                if self._stopped():
                    return
                self._files.remove(sha256, unless_newer_than=self._unused_for)
