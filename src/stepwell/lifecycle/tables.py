"""Which moves there are: from each state of a task or a step to which others."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.errors import Conflict
from stepwell.task import ENDED, Status, StepStatus

TASK_MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.WAITING, *ENDED}),
    Status.WAITING: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.COMPLETED: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.PENDING, Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.PENDING, Status.QUEUED}),
}

STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    StepStatus.PENDING: frozenset({StepStatus.RUNNING, StepStatus.WAITING, StepStatus.SKIPPED, StepStatus.CANCELLED}),
    StepStatus.RUNNING: frozenset(
        {
            StepStatus.PENDING,
            StepStatus.WAITING,
            StepStatus.COMPLETED,
            StepStatus.FAILED,
            StepStatus.SKIPPED,
            StepStatus.CANCELLED,
        }
    ),
    StepStatus.WAITING: frozenset(
        {StepStatus.RUNNING, StepStatus.PENDING, StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED}
    ),
    StepStatus.COMPLETED: frozenset({StepStatus.PENDING}),
    StepStatus.FAILED: frozenset({StepStatus.PENDING}),
    StepStatus.SKIPPED: frozenset({StepStatus.PENDING}),
    StepStatus.CANCELLED: frozenset({StepStatus.PENDING}),
}
"""Ended steps become `pending` only when a retry by hand resets them."""


def move(before: Status, after: Status) -> None:
    """Raise `Conflict` unless a task may go from one state to the other."""
    if after not in TASK_MOVES[before]:
        raise Conflict(f"a {before} task cannot become {after}", status=before)


def move_step(before: StepStatus, after: StepStatus) -> None:
    """Raise `Conflict` unless a step may go from one state to the other."""
    if after not in STEP_MOVES[before]:
        raise Conflict(f"a {before} step cannot become {after}")
