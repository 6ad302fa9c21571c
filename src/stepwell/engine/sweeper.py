"""Looks after what nobody else does: orphans, tasks whose time has come, lost bells, and what is to be removed."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from stepwell.engine.expiry import Expiry
from stepwell.engine.workfolder import remove_abandoned
from stepwell.errors import Unavailable
from stepwell.ports import FileStore, TaskStore
from stepwell.task import Status, Task

log = logging.getLogger(__name__)

SHARE = 0.2
"""The share of a lease between two rounds."""

LONGEST = 0.8
"""Seconds between two rounds at most, so that a task wakes at most one second late."""

PURGE_EVERY = 600.0
"""Seconds between two looks for tasks and files whose time to be kept is over."""

FORGOTTEN = 15.0
"""Seconds after which a task that is still queued is rung for again."""


class Sweeper:
    """Two daemon threads, so that no orphan waits for old files to go; any number of processes may sweep one store."""

    def __init__(
        self,
        store: TaskStore,
        files: FileStore,
        ring: Callable[[Task], None],
        *,
        lease_seconds: float,
        result_ttl: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._ring, self._lease, self._elapsed = store, ring, lease_seconds, elapsed
        self._stop = threading.Event()
        self._expiry = Expiry(store, files, result_ttl, self._stop.is_set)
        self._threads = [
            threading.Thread(target=self._rounds, name="stepwell-sweeper", daemon=True),
            threading.Thread(target=self._expire, name="stepwell-expiry", daemon=True),
        ]
        self._last = elapsed()
        self._first = True

    def start(self) -> None:
        """Begin; the first round rings for every task that is queued."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def sweep(self) -> None:
        """One round."""
        store, gap = self._store, self._elapsed() - self._last
        lost = store.reap(grace=gap > self._lease)
        for task in lost:
            log.warning(
                "task %s: its worker was lost, it is %s now (crash %d)", task.task_id, task.status, task.crashes
            )
        found = [*lost, *store.wake()]
        self._last = self._elapsed()  # only now: while the store was away nobody could renew a lease either
        found += store.queued(older_than=0.0 if self._first else FORGOTTEN)
        self._first = False
        for task in found:
            if task.status is Status.QUEUED:
                self._ring(task)

    def _rounds(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self.sweep()
                due = self._store.due_in()
            except Unavailable as error:
                log.warning("the store does not answer: %s", error)
                due = None
            except Exception:  # the thread must live on: without it nothing is taken over, woken or removed
                log.exception("a sweep failed")
                due = None
            pause = min(self._lease * SHARE, LONGEST) * random.uniform(0.8, 1.2)
            pause = pause if due is None else min(pause, max(due, 0.01))

    def _expire(self) -> None:
        remove_abandoned()
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self._expiry.sweep()
            except Unavailable as error:
                log.warning("what is old cannot be removed now: %s", error)
            pause = PURGE_EVERY * random.uniform(0.8, 1.2)
