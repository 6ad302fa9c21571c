"""What is known of the tasks that were last asked for, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBERED = 10_000
"""Of so many tasks something is known."""


class Recent(Generic[T]):
    """One fact each of the last 10,000 tasks."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, T] = OrderedDict()
        self._changing = threading.Lock()

    def get(self, task_id: str) -> T | None:
        """What is known of a task."""
        return self._known.get(task_id)

    def put(self, task_ids: Iterable[str], value: T) -> None:
        """Remember this of some tasks."""
        with self._changing:
            for task_id in task_ids:
                self._known[task_id] = value
                self._known.move_to_end(task_id)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, task_ids: Iterable[str]) -> None:
        """What was known of these is not true any more."""
        with self._changing:
            for task_id in task_ids:
                self._known.pop(task_id, None)
