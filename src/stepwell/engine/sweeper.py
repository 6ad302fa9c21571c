"""Looks after the tasks that nobody runs: orphans, those whose time has come, lost bells, and the old ones."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from stepwell.errors import Unavailable
from stepwell.ports import TaskStore
from stepwell.task import Status, Task

log = logging.getLogger(__name__)

SHARE = 0.2
"""The share of a lease between two rounds."""

PURGE_EVERY = 600.0
"""Seconds between two looks for tasks whose time to be kept is over."""

FORGOTTEN = 15.0
"""Seconds after which a task that is still queued is rung for again."""


class Sweeper:
    """One daemon thread; any number of processes may sweep the same store."""

    def __init__(
        self, store: TaskStore, ring: Callable[[Task], None], *, lease_seconds: float, result_ttl: float
    ) -> None:
        self._store, self._ring = store, ring
        self._lease, self._ttl = lease_seconds, result_ttl
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._rounds, name="stepwell-sweeper", daemon=True)
        self._last = time.monotonic()
        self._purged = -PURGE_EVERY
        self._first = True

    def start(self) -> None:
        """Begin; the first round rings for every task that is queued."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def sweep(self) -> None:
        """One round."""
        now = time.monotonic()
        gap, self._last = now - self._last, now
        store = self._store
        found = [*store.reap(grace=gap > self._lease), *store.wake()]
        found += store.queued(older_than=0.0 if self._first else FORGOTTEN)
        self._first = False
        for task in found:
            if task.status is Status.QUEUED:
                self._ring(task)
        if now - self._purged >= PURGE_EVERY:
            self._purged = now
            while store.purge(self._ttl) and not self._stop.is_set():
                pass

    def _rounds(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self.sweep()
                due = self._store.due_in()
            except Unavailable as error:
                log.warning("the store does not answer: %s", error)
                due = None
            pause = self._lease * SHARE * random.uniform(0.8, 1.2)
            pause = pause if due is None else min(pause, max(due, 0.01))
