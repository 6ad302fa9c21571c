"""Looks after what nobody else does: orphans, tasks whose time has come, lost bells, and what is to be removed."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from stepwell.engine.expiry import Expiry
from stepwell.engine.survivors import Survivors
from stepwell.engine.workfolder import remove_abandoned
from stepwell.errors import Unavailable
from stepwell.lifecycle import QUEUED_BY_PRIORITY
from stepwell.ports import FileStore, Queue, TaskStore
from stepwell.task import Status

log = logging.getLogger(__name__)

SHARE = 0.2
"""The share of a lease between two rounds."""

SILENCE = 0.5
"""The share of a lease without a round after which leases prove nothing: while the store was away they could not be
renewed, and as a healthy worker renews every 0.3 leases, less than a whole one is enough to lose it."""

LONGEST = 0.8
"""Seconds between two rounds at most, so that a task wakes at most one second late."""

PURGE_EVERY = 600.0
"""Seconds between two looks for tasks and files whose time to be kept is over."""

FORGOTTEN = 4.0
"""Seconds that a task must have been queued for until its bell counts as lost; also between two looks for such."""

OWN_FORGOTTEN = 1.0
"""The same where the queue is in this process: another one, like a terminal, cannot ring there at all. It runs itself
what it submits to itself, and has claimed that by then."""


class Sweeper:
    """Two daemon threads, so that no orphan waits for old files to go; any number of processes may sweep one store."""

    def __init__(
        self,
        store: TaskStore,
        files: FileStore,
        queue: Queue,
        *,
        lease_seconds: float,
        result_ttl: float,
        forgotten: float = FORGOTTEN,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """A bell counts as lost when a task has been queued for `forgotten` seconds."""
        self._store, self._queue, self._lease, self._elapsed = store, queue, lease_seconds, elapsed
        self._forgotten = forgotten
        self._survivors = Survivors(store)
        self._stop = threading.Event()
        self._expiry = Expiry(store, files, result_ttl, self._stop.is_set)
        self._threads = [
            threading.Thread(target=self._rounds, name="stepwell-sweeper", daemon=True),
            threading.Thread(target=self._expire, name="stepwell-expiry", daemon=True),
        ]
        self._told: set[str] = set()
        self._last = elapsed()
        self._reconciled: float | None = None

    def start(self) -> None:
        """Begin; the first round looks for lost bells too."""
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
        lost = store.reap(grace=gap > self._lease * SILENCE)
        for task in lost:
            log.warning(
                "task %s: its worker was lost, it is %s now (crash %d)", task.task_id, task.status, task.crashes
            )
        self._survivors.left_by(lost)
        found = [*lost, *store.wake()]
        self._last = self._elapsed()  # only now: while the store was away nobody could renew a lease either
        for task in found:
            if task.status is Status.QUEUED:
                self._queue.ring(task)
        self._survivors.cancel()
        if self._reconciled is None or self._elapsed() - self._reconciled >= self._forgotten:
            self.reconcile(0.0 if self._reconciled is None else self._forgotten)
            self._reconciled = self._elapsed()

    def reconcile(self, older_than: float) -> None:
        """Ring again where fewer bells wait than tasks are queued, for tasks that have been queued for so long."""
        lines: Sequence[tuple[str, int] | None]
        try:
            lines = self._lines_without_bells()
        except Unavailable as error:  # it may still be possible to ring for some
            self._tell("bells cannot be counted: %s", error)
            lines = [None]
        if rung := sum(self._queue.ring_again(self._store.queued(older_than, line)) for line in lines):
            log.info("tasks that were queued, but nobody had been rung for: %d", rung)

    def _lines_without_bells(self) -> Sequence[tuple[str, int]]:
        """The queues and priorities for which fewer bells wait than tasks are queued."""
        bells = Counter(dict(self._queue.lengths()))
        return [
            (queue, priority)
            for queue, numbers in self._store.counts().items()
            for priority, name in enumerate(QUEUED_BY_PRIORITY)
            if bells[queue, priority] < numbers.get(name, 0)
        ]

    def _rounds(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self.sweep()
                due = self._store.due_in()
                self._told.clear()
            except Unavailable as error:
                self._tell("the store does not answer: %s", error)
                due = None
            except Exception:  # the thread must live on: without it nothing is taken over, woken or removed
                log.exception("a sweep failed")
                due = None
            pause = min(self._lease * SHARE, LONGEST) * random.uniform(0.8, 1.2)
            pause = pause if due is None else min(pause, max(due, 0.01))

    def _tell(self, message: str, error: Unavailable) -> None:
        """Warn once, until a sweep succeeds."""
        log.log(logging.DEBUG if message in self._told else logging.WARNING, message, error)
        self._told.add(message)

    def _expire(self) -> None:
        _try_to_remove(remove_abandoned)
        pause = 0.0
        while not self._stop.wait(pause):
            _try_to_remove(self._expiry.sweep)
            pause = PURGE_EVERY * random.uniform(0.8, 1.2)


def _try_to_remove(remove: Callable[[], None]) -> None:
    try:
        remove()
    except Unavailable as error:
        log.warning("what is old cannot be removed now: %s", error)
    except Exception:  # the thread must live on: without it nothing that is old is removed
        log.exception("removing what is old failed")
