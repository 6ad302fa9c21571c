"""Rows of the tables, from and to the frozen records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from stepwell.stores import records
from stepwell.stores.sql.tables import tasks
from stepwell.task import (
    Apart,
    Crew,
    Event,
    Mail,
    NewEvent,
    Publication,
    Status,
    StepRecord,
    Stored,
    Task,
)

COLUMNS = tuple(column.name for column in tasks.columns)
CREW_COLUMNS = tuple(field.name for field in fields(Crew))
_HOLD = ("token", "released", "claimed_at", "due", "last_event", "last_mail")


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task, and what the store alone knows of its claim: see the comments of the columns."""

    task: Task
    token: str | None = None
    released: str | None = None
    claimed_at: float | None = None
    due: float | None = None
    last_event: int = 0
    last_mail: int = 0

    def was_released_by(self, token: str) -> bool:
        """Whether this token's claim was the last to end by its own call."""
        return self.released is not None and self.released.partition(":")[2] == token


def read_task(row: Sequence[Any]) -> TaskRow:
    """The row of `COLUMNS` as a record."""
    found = dict(zip(COLUMNS, row, strict=True))
    hold = {name: found.pop(name) for name in _HOLD}
    del found["root"], found["parent"]
    variables_size, outputs_size = found.pop("variables_size"), found.pop("outputs_size")
    status = Status(found.pop("status"))
    found.update(
        variables=_stored(found["variables"], variables_size),
        outputs=_stored(found["outputs"], outputs_size),
        undo=bool(found["undo"]),
        dead=bool(found["dead"]),
        cancel_requested=bool(found["cancel_requested"]),
        error=records.error_from_json(found["error"]),
        progress=None if found["progress"] is None else json.loads(found["progress"]),
        labels=json.loads(found["labels"]),
        trigger=json.loads(found["trigger"]),
        ancestors=tuple(json.loads(found["ancestors"] or "[]")),
        part=bool(found["part"]),
        undoing=bool(found["undoing"]),
        wake_at=hold["due"] if status in (Status.PENDING, Status.WAITING) else None,
    )
    return TaskRow(Task(status=status, **found), **hold)


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
        "ancestors": records.to_json(task.ancestors) if task.ancestors else None,
        "root": task.ancestors[0] if task.ancestors else None,
        "parent": task.parent,
        "place": task.place,
        "index": task.index,
        "part": int(task.part),
        "undoing": int(task.undoing),
        "last_mail": row.last_mail,
    }


def write_revision(task: Task) -> dict[str, Any]:
    """What a retry by hand changes of a task, as parameters by the names of the columns."""
    variables, variables_size = _columns(task.variables)
    return {
        "task_id": task.task_id,
        "variables": variables,
        "variables_size": variables_size,
        "definition": task.definition,
        "undo": int(task.undo),
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


def read_mail(row: Sequence[Any]) -> Mail:
    """The row of `id, name, payload, sent_at, sender, key` as a record."""
    return Mail(*row)


def read_crew(row: Sequence[Any]) -> Crew:
    """The row of `CREW_COLUMNS` as a record."""
    found = dict(zip(CREW_COLUMNS, row, strict=True))
    return Crew(**{**found, "closed": bool(found["closed"])})


def write_crew(task_id: str, path: str, crew: Crew, told: int) -> dict[str, Any]:
    """A record as parameters by the names of the columns."""
    return {"task_id": task_id, "path": path, **asdict(crew), "closed": int(crew.closed), "told": told}


def read_publication(row: Sequence[Any]) -> Publication:
    """The row of `id, name, payload, published_at, topics, sender` as a record."""
    id_, name, payload, published_at, topics, sender = row
    return Publication(str(id_), name, payload, published_at, tuple(json.loads(topics)), sender)


def _stored(text: str | None, size: int | None) -> Any:
    return text if size is None else Apart(size)


def _columns(value: Stored | None) -> tuple[str | None, int | None]:
    return (None, value.size) if isinstance(value, Apart) else (value, None)
