"""Rows of the tables, from and to the frozen records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepwell.stores import records
from stepwell.stores.sql.schema import tasks
from stepwell.task import Apart, Event, NewEvent, Status, StepRecord, Stored, Task

COLUMNS = tuple(column.name for column in tasks.columns)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task, and what the store alone knows of its claim: see the comments of the columns."""

    task: Task
    token: str | None = None
    released: str | None = None
    claimed_at: float | None = None
    due: float | None = None
    last_event: int = 0

    def was_released_by(self, token: str) -> bool:
        """Whether this token's claim was the last to end by its own call."""
        return self.released is not None and self.released.partition(":")[2] == token


def read_task(row: Sequence[Any]) -> TaskRow:
    """The row of `COLUMNS` as a record."""
    fields = dict(zip(COLUMNS, row, strict=True))
    hold = {name: fields.pop(name) for name in ("token", "released", "claimed_at", "due", "last_event")}
    variables_size, outputs_size = fields.pop("variables_size"), fields.pop("outputs_size")
    status = Status(fields.pop("status"))
    fields.update(
        variables=_stored(fields["variables"], variables_size),
        outputs=_stored(fields["outputs"], outputs_size),
        undo=bool(fields["undo"]),
        dead=bool(fields["dead"]),
        cancel_requested=bool(fields["cancel_requested"]),
        error=records.error_from_json(fields["error"]),
        progress=None if fields["progress"] is None else json.loads(fields["progress"]),
        labels=json.loads(fields["labels"]),
        trigger=json.loads(fields["trigger"]),
        wake_at=hold["due"] if status in (Status.PENDING, Status.WAITING) else None,
    )
    return TaskRow(Task(status=status, **fields), **hold)


def write_task(row: TaskRow) -> dict[str, Any]:
    """A record as parameters by the names of `COLUMNS`."""
    task = row.task
    variables, variables_size = _columns(task.variables)
    outputs, outputs_size = _columns(task.outputs)
    return {
        "task_id": task.task_id,
        "workflow_id": task.workflow_id,
        "definition": task.definition,
        "status": task.status.value,
        "queue": task.queue,
        "priority": task.priority,
        "variables": variables,
        "variables_size": variables_size,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "timeout": task.timeout,
        "max_retries": task.max_retries,
        "started_at": task.started_at,
        "completed_at": task.completed_at,
        "due": row.due,
        "ran_for": task.ran_for,
        "attempt": task.attempt,
        "retry_count": task.retry_count,
        "crashes": task.crashes,
        "undo": int(task.undo),
        "cancel_requested": int(task.cancel_requested),
        "worker": task.worker,
        "outputs": outputs,
        "outputs_size": outputs_size,
        "error": records.error_to_json(task.error),
        "progress": None if task.progress is None else records.to_json(task.progress),
        "external_id": task.external_id,
        "idempotency_key": task.idempotency_key,
        "labels": records.to_json(task.labels),
        "trigger": records.to_json(task.trigger),
        "format": task.format,
        "token": row.token,
        "released": row.released,
        "claimed_at": row.claimed_at,
        "last_event": row.last_event,
        "dead": int(task.dead),
        "fingerprint": task.fingerprint,
    }


def read_step(row: Sequence[Any]) -> StepRecord:
    """The row of `path, position, status, record, output, output_size` as a record."""
    path, position, status, form, output, output_size = row
    return records.step_from_json(path, position, status, form, _stored(output, output_size))


def write_step(task_id: str, record: StepRecord) -> dict[str, Any]:
    """A record, its output split already, as parameters by the names of the columns."""
    output, output_size = _columns(record.output)
    return {
        "task_id": task_id,
        "path": record.path,
        "position": record.position,
        "status": record.status.value,
        "record": records.step_to_json(record),
        "output": output,
        "output_size": output_size,
    }


def read_event(row: Sequence[Any]) -> Event:
    """The row of `id, task_id, at, kind, path, data` as a record."""
    id_, task_id, at, kind, path, data = row
    return Event(id_, task_id, at, kind, path, json.loads(data))


def write_events(task_id: str, first: int, at: float, events: Sequence[NewEvent]) -> list[dict[str, Any]]:
    """Events as parameters by the names of the columns, numbered from `first`."""
    return [
        {
            "task_id": task_id,
            "id": number,
            "at": at,
            "kind": event.kind,
            "path": event.path,
            "data": records.to_json(event.data),
        }
        for number, event in enumerate(events, first)
    ]


def _stored(text: str | None, size: int | None) -> Any:
    return text if size is None else Apart(size)


def _columns(value: Stored | None) -> tuple[str | None, int | None]:
    return (None, value.size) if isinstance(value, Apart) else (value, None)
