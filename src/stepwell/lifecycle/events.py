"""What is told of a move: the events of tasks and steps."""

from __future__ import annotations

from typing import Any

from stepwell.task import Error, NewEvent, Status, StepRecord, StepStatus, Task

_STEP_EVENTS = {
    StepStatus.PENDING: "step.retrying",
    StepStatus.RUNNING: "step.started",
    StepStatus.WAITING: "step.waiting",
    StepStatus.COMPLETED: "step.completed",
    StepStatus.FAILED: "step.failed",
    StepStatus.SKIPPED: "step.skipped",
    StepStatus.CANCELLED: "step.cancelled",
}
_MESSAGE_LENGTH = 1000


def step_event(record: StepRecord) -> NewEvent | None:
    """What is told when this record is written; nothing for a step that has not begun."""
    kind = _STEP_EVENTS.get(record.status)
    if kind is None or (record.status is StepStatus.PENDING and record.attempts == 0):
        return None
    return NewEvent(kind, record.path, {"attempt": record.attempts, **_error_data(record.error)})


def task_events(before: Task | None, after: Task) -> list[NewEvent]:
    """What is told when a task goes from one record to the other; `before` is None for a new one."""
    kinds = []
    if before is None:
        kinds.append("task.created")
    elif before.ended and not after.ended:
        kinds.append("task.retried")
    elif after.cancel_requested and not before.cancel_requested:
        kinds.append("task.cancel_requested")
    if after.status is not Status.PENDING and (before is None or before.status != after.status):
        kinds.append("task.started" if after.status is Status.RUNNING else f"task.{after.status}")
    told = after.error if after.ended or after.status is Status.WAITING else None
    data = {"attempt": after.attempt, **_error_data(told)}
    return [NewEvent(kind, None, data) for kind in kinds]


def _error_data(error: Error | None) -> dict[str, Any]:
    return {} if error is None else {"code": error.code, "message": error.message[:_MESSAGE_LENGTH]}
