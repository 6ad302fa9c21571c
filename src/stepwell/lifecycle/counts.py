"""What a move adds to the counters of its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stepwell.task import Status, Task

QUEUED_BY_PRIORITY = ("queued:0", "queued:1", "queued:2", "queued:3")

COUNTERS = (
    *Status,
    *QUEUED_BY_PRIORITY,
    "dead",
    "created_total",
    "completed_total",
    "failed_total",
    "timeout_total",
    "cancelled_total",
    "retried_total",
)
"""The counters of a queue: tasks in each state, queued ones by priority, dead letters; and how many ever were
created, ended so, or were retried."""


def count_changes(before: Task | None, after: Task | None) -> dict[str, int]:
    """What a move adds to the counters of the task's queue; None stands for a task that is not there.

    A time-out counts under `timeout_total` and under `failed_total`.
    """
    changes: Counter[str] = Counter()
    if before is not None:
        changes.subtract(_gauges(before))
    if after is not None:
        changes.update(_gauges(after))
        changes.update(_totals(before, after))
    return {name: change for name, change in changes.items() if change}


def _gauges(task: Task) -> Iterator[str]:
    yield task.status
    if task.status is Status.QUEUED:
        yield QUEUED_BY_PRIORITY[task.priority]
    if task.dead:
        yield "dead"


def _totals(before: Task | None, after: Task) -> Iterator[str]:
    if before is None:
        yield "created_total"
        return
    if before.status == after.status:
        return
    if after.ended:
        yield f"{after.status}_total"
        if after.error is not None and after.error.code == "timeout":
            yield "timeout_total"
    if after.attempt > before.attempt:
        yield "retried_total"
