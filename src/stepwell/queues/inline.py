"""The inline pool: a bounded number of threads in this process, by priority, first in first out within one."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from stepwell.errors import QueueFull
from stepwell.task import Task

Run = Callable[[str, Callable[[Task | None], None]], None]
"""Runs a task, and calls back once when that is over; may go on to block its thread after it has called back."""


class InlineQueue:
    """A `Queue` served by threads of this process.

    At most `max_concurrency` tasks run at once and at most `max_size` wait; beyond that `admit` refuses. A thread
    that is stuck in user code keeps its place until that code returns.
    """

    def __init__(self, run: Run, max_concurrency: int, max_size: int) -> None:
        self._run, self._max_concurrency, self._max_size = run, max_concurrency, max_size
        self._waiting: list[tuple[int, int, str]] = []
        self._numbers = itertools.count()
        self._ended: dict[str, Future[Task | None]] = {}
        self._changed = threading.Condition()
        self._admitted = self._threads = self._busy = 0
        self._open = True

    def admit(self, count: int = 1) -> None:
        """Reserve room for so many tasks. Raises `QueueFull`."""
        with self._changed:
            if not self._open:
                raise QueueFull("this server is stopping: send it again", retry_after=5)
            room = self._max_concurrency - self._busy + self._max_size - len(self._waiting) - self._admitted
            if count > room:
                message = f"{self._busy} tasks run and {len(self._waiting)} wait, which is all that is allowed"
                raise QueueFull(f"{message} (INLINE_MAX_CONCURRENCY, INLINE_QUEUE_MAX_SIZE)", retry_after=1)
            self._admitted += count

    def forgo(self, count: int = 1) -> None:
        """Give reserved room back."""
        with self._changed:
            self._admitted -= count

    def ring(self, task: Task, admitted: bool = False) -> None:
        """Have the task run as soon as a thread is free; a second ring for one that waits or runs does nothing."""
        with self._changed:
            self._admitted -= admitted
            if task.task_id in self._ended or not self._open:
                return
            self._ended[task.task_id] = Future()
            heapq.heappush(self._waiting, (-task.priority, next(self._numbers), task.task_id))
            if self._threads < min(self._max_concurrency, self._busy + len(self._waiting)):
                self._threads += 1
                threading.Thread(target=self._serve, name="stepwell-inline", daemon=True).start()
            self._changed.notify()

    def remove(self, task_id: str) -> None:
        """Forget a task that waits, because it was cancelled."""
        with self._changed:
            left = [entry for entry in self._waiting if entry[2] != task_id]
            if len(left) == len(self._waiting):
                return
            heapq.heapify(left)
            self._waiting = left
            future = self._ended.pop(task_id)
        future.set_result(None)

    def ended(self, task_id: str) -> Future[Task | None] | None:
        """Done when this pool is through with a task that waits or runs here; None for any other task."""
        with self._changed:
            return self._ended.get(task_id)

    def ahead(self, task: Task) -> int:
        """How many tasks wait here that start before this one."""
        with self._changed:
            return sum(1 for entry in self._waiting if entry[2] != task.task_id and -entry[0] >= task.priority)

    def stats(self) -> Mapping[str, Any]:
        """How busy the pool is, by the names of the API."""
        with self._changed:
            return {
                "current_processing": self._busy,
                "queue_size": len(self._waiting),
                "max_workers": self._max_concurrency,
                "max_queue_size": self._max_size,
                "is_running": self._open,
            }

    def close(self) -> None:
        """Start nothing more; what waits stays `queued` in the store, for the next process."""
        with self._changed:
            self._open = False
            waiting, self._waiting = self._waiting, []
            futures = [self._ended.pop(task_id) for _, _, task_id in waiting]
            self._changed.notify_all()
        for future in futures:
            future.set_result(None)

    def _serve(self) -> None:
        try:
            while (task_id := self._next()) is not None:
                try:
                    self._run(task_id, partial(self._over, task_id))
                finally:
                    self._over(task_id, None)
                    self._free()
        finally:
            with self._changed:
                self._threads -= 1

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open)
            if not self._waiting:
                return None
            self._busy += 1
            return heapq.heappop(self._waiting)[2]

    def _free(self) -> None:
        with self._changed:
            self._busy -= 1

    def _over(self, task_id: str, task: Task | None) -> None:
        with self._changed:
            future = self._ended.pop(task_id, None)
        if future is not None:
            future.set_result(task)
