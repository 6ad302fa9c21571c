"""Ringing for the tasks that a store made queued without answering them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from stepwell.errors import Unavailable
from stepwell.task import Task

log = logging.getLogger(__name__)


def ring_for(tasks: Iterable[Task], ring: Callable[[Task], None] | None) -> None:
    """Ring for each of them, as `TaskStore.rings_with` says; nobody may listen."""
    if ring is None:
        return
    for task in tasks:
        try:
            ring(task)
        except Unavailable as error:
            log.warning("the bell of task %s may be lost, until a sweeper rings again: %s", task.task_id, error)
