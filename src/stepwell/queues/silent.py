"""The queue of a process that runs its tasks itself, one at a time: it only remembers what was rung for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from stepwell.ports import WorkerView
from stepwell.task import Task

REMEMBERED = 10_000
"""Bells; whoever runs tasks here finds those before them in the store."""


class SilentQueue:
    """A `Queue` without a pool: whoever submits a task goes on to run it, and its children, in its own thread."""

    def __init__(self) -> None:
        self._rung: deque[Task] = deque(maxlen=REMEMBERED)

    def taken(self) -> Task | None:
        """The task that was rung for first, once; None if there is none."""
        try:
            return self._rung.popleft()
        except IndexError:
            return None

    @contextmanager
    def room(self, count: int = 1) -> Iterator[SilentQueue]:  # noqa: ARG002 - nothing is bounded here
        """There is always room."""
        yield self

    def ring(self, task: Task) -> None:
        """The caller runs it."""
        self._rung.append(task)

    def remove(self, task_id: str) -> None:
        """Nothing waits here."""

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """Nothing waits here."""
        return {}

    def ring_again(self, tasks: Sequence[Task]) -> int:  # noqa: ARG002 - nobody is rung for
        """The caller runs it."""
        return 0

    def workers(self) -> Sequence[WorkerView]:
        """There are none."""
        return ()

    def ahead(self, task: Task) -> int:  # noqa: ARG002 - no task stands in a line here
        """Nothing waits here."""
        return 0

    def stats(self) -> Mapping[str, Any]:
        """A pool without places, by the names of the API."""
        return {
            "current_processing": 0,
            "queue_size": 0,
            "max_workers": 0,
            "max_queue_size": 0,
            "is_running": False,
        }
