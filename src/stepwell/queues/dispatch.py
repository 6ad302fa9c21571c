"""Rings for the workers where that is possible, and has this process run the task where it is not."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from stepwell.errors import QueueFull, Unavailable
from stepwell.ports import Queue, WorkerView
from stepwell.task import Task

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Of so many tasks it is remembered why they run in this process."""


class Dispatch:
    """A `Queue` over that of the workers and this process's pool.

    `is_local` answers whether only this process can run a task, because its record is kept on this host. A task
    whose bell does not reach the workers runs here too; if the pool has no place it stays `queued`, and whoever
    reconciles rings again.
    """

    def __init__(self, workers: Queue, pool: Queue, is_local: Callable[[str], bool], away: Callable[[], str]) -> None:
        """`away` tells why the workers' Redis is not used now."""
        self._workers, self._pool, self._is_local, self._away = workers, pool, is_local, away
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self.diverted = 0
        """How many tasks ran in this process although they were for workers."""

    @contextmanager
    def room(self, count: int = 1) -> Iterator[Dispatch]:
        """The store bounds the queues of workers; the pool is asked when a task goes there."""
        with self._workers.room(count):
            yield self

    def ring(self, task: Task) -> None:
        """Ring for the workers, or have this process run the task."""
        if self._is_local(task.task_id):
            self._run_here(task, self._away())
            return
        try:
            self._workers.ring(task)
        except Unavailable as error:
            self._run_here(task, str(error))

    def why_here(self, task_id: str) -> str | None:
        """Why a task runs in this process instead of a worker, if it does (or lately did)."""
        return self._reasons.get(task_id)

    def remove(self, task_id: str) -> None:
        """Ring no more for a task."""
        self._pool.remove(task_id)
        if not self._is_local(task_id):
            self._workers.remove(task_id)

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """Bells for workers, and tasks that wait here."""
        return Counter(dict(self._workers.lengths())) + Counter(dict(self._pool.lengths()))

    def ring_again(self, tasks: Sequence[Task]) -> int:
        """Ring for those of these queued tasks whose bell was lost; answers for how many."""
        local = [task for task in tasks if self._is_local(task.task_id)]
        others = [task for task in tasks if not self._is_local(task.task_id)]
        return self._pool.ring_again(local) + self._workers.ring_again(others)

    def ahead(self, task: Task) -> int:
        """How many tasks will start before this one."""
        return (self._pool if task.task_id in self._reasons else self._workers).ahead(task)

    def stats(self) -> Mapping[str, Any]:
        """Those of the workers."""
        return self._workers.stats()

    def workers(self) -> Sequence[WorkerView]:
        """The workers that are alive."""
        return self._workers.workers()

    def _run_here(self, task: Task, reason: str) -> None:
        try:
            with self._pool.room() as room:
                room.ring(task)
        except QueueFull as error:  # it is recorded: whoever reconciles rings again
            log.warning("task %s stays queued: %s, and %s", task.task_id, reason, error)
            return
        log.warning("task %s runs in this process: %s", task.task_id, reason)
        self.diverted += 1
        self._reasons[task.task_id] = reason
        if len(self._reasons) > REMEMBERED:
            self._reasons.popitem(last=False)
