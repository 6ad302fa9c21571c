"""Rings for the workers where that is possible, and has this process run the task where it is not."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from stepwell.errors import QueueFull, Unavailable
from stepwell.ports import Queue, WorkerView
from stepwell.recent import Recent
from stepwell.task import Task

log = logging.getLogger(__name__)


class Dispatch:
    """A `Queue` over that of the workers and this process's pool.

    `is_local` answers whether only this process can run a task, because its record is kept on this host. A task
    whose bell does not reach the workers runs here too; if the pool has no place it stays `queued`, and whoever
    reconciles rings again.
    """

    def __init__(self, workers: Queue, pool: Queue, is_local: Callable[[str], bool], away: Callable[[], str]) -> None:
        """`away` tells why the workers' Redis is not used now."""
        self._workers, self._pool, self._is_local, self._away = workers, pool, is_local, away
        self._reasons: Recent[str] = Recent()
        self._counting = threading.Lock()
        self._is_told = False
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
            self._reasons.put([task.task_id], self._away())  # also if the pool is full: nobody else will run it
            self._run_here(task, self._away())
            return
        try:
            self._workers.ring(task)
        except Unavailable as error:
            self._run_here(task, str(error))
        else:
            self._reasons.forget([task.task_id])
            self._is_told = False

    def why_here(self, task_id: str) -> str | None:
        """Why a task runs in this process instead of a worker, if it does (or lately did)."""
        return self._reasons.get(task_id)

    def is_for_workers(self, task_id: str) -> bool:
        """Whether workers can run a task, and its bell went to them, as far as this process knows."""
        return self._reasons.get(task_id) is None and not self._is_local(task_id)

    def remove(self, task_id: str) -> None:
        """Ring no more for a task. A bell that cannot be taken back now is heard in vain."""
        self._pool.remove(task_id)
        if not self._is_local(task_id):
            with suppress(Unavailable):
                self._workers.remove(task_id)

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """Bells for workers, and tasks that wait here."""
        return Counter(dict(self._workers.lengths())) + Counter(dict(self._pool.lengths()))

    def ring_again(self, tasks: Sequence[Task]) -> int:
        """Ring for those of these queued tasks whose bell was lost; answers for how many.

        Raises `Unavailable` once the pool was rung, if there are tasks for workers and these cannot be.
        """
        local = [task for task in tasks if self._is_local(task.task_id)]
        others = [task for task in tasks if not self._is_local(task.task_id)]
        rung = self._pool.ring_again(local)
        return rung + self._workers.ring_again(others) if others else rung

    def ahead(self, task: Task) -> int:
        """How many tasks will start before this one."""
        return (self._workers if self.why_here(task.task_id) is None else self._pool).ahead(task)

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
        level = logging.DEBUG if self._is_told else logging.WARNING  # once, not for each request
        log.log(level, "no worker is rung for task %s: %s", task.task_id, reason)
        self._is_told = True
        self._reasons.put([task.task_id], reason)
        with self._counting:
            self.diverted += 1
