"""The child tasks of a task that runs in this terminal, and theirs: this process runs them too, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stepwell.engine.courier import Courier
from stepwell.ports import TaskFilter, TaskStore
from stepwell.task import Status, Task

if TYPE_CHECKING:
    from stepwell.queues.silent import SilentQueue
    from stepwell.wiring import System

LOOK = 1.0
"""Seconds between two looks for what nobody rang for here: children of another process, events, times that came."""

PAGE = 100
"""Children that are looked at of one task."""


class Family:
    """All tasks below one, whoever made them."""

    def __init__(self, system: System, task_id: str) -> None:
        self._store: TaskStore = system.store
        self._silent: SilentQueue | None = system.silent
        self._courier = Courier(system.store, system.silent, "terminal") if system.silent else None
        self._task_id = task_id
        self._looked = 0.0

    def next(self) -> str | None:
        """A child that is to be run now; None if there is none, as far as is known."""
        while self._silent is not None and (rung := self._silent.taken()) is not None:
            if self._task_id in rung.ancestors:
                return rung.task_id
        if time.monotonic() - self._looked < LOOK:
            return None
        self._looked = time.monotonic()
        self._wake()
        return next((child.task_id for child in self._in_status(Status.QUEUED)), None)

    def _wake(self) -> None:
        """Have all go on whose time or event has come."""
        if self._courier is not None:
            self._courier.deliver()
        now = self._store.now()
        if any(child.wake_at is not None and child.wake_at <= now for child in self._in_status(Status.WAITING)):
            self._store.wake()

    def _in_status(self, status: Status) -> Iterator[Task]:
        """The tasks in this state, as far as they are children of tasks that wait."""
        parents = [self._task_id]
        while parents:
            parent = parents.pop()
            yield from self._children(parent, status)
            parents += [child.task_id for child in self._children(parent, Status.WAITING)]

    def _children(self, parent: str, status: Status) -> Sequence[Task]:
        return self._store.list(TaskFilter(status=status, parent=parent), PAGE).items
