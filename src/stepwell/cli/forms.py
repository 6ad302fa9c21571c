"""The JSON forms of tasks, steps and log lines, as the HTTP API shows them."""

from __future__ import annotations

from typing import Any

from stepwell.cli.output import moment
from stepwell.service import Service
from stepwell.task import Event, StepRecord, Task
from stepwell.workflow import PRIORITIES

_PRIORITY_NAMES = {level: name for name, level in PRIORITIES.items()}


def task_form(service: Service, task: Task) -> dict[str, Any]:
    """A task; its `result` is null until it has ended."""
    result = {
        "workflow_id": task.workflow_id,
        "status": str(task.status),
        "variables": service.variables(task),
        "outputs": service.outputs(task),
    }
    return {**summary(task), "result": result if task.ended else None, "progress": task.progress}


def summary(task: Task) -> dict[str, Any]:
    """A task without what may be large."""
    return {
        "task_id": task.task_id,
        "type": task.queue,
        "workflow_id": task.workflow_id,
        "status": str(task.status),
        "created_at": moment(task.created_at),
        "started_at": moment(task.started_at),
        "completed_at": moment(task.completed_at),
        "updated_at": moment(task.updated_at),
        "error": task.error.as_json() if task.error else None,
        "retry_count": task.retry_count,
        "max_retries": task.max_retries,
        "queue": task.queue,
        "priority": _PRIORITY_NAMES[task.priority],
        "external_id": task.external_id,
        "labels": dict(task.labels),
    }


def step_form(service: Service, task: Task, record: StepRecord) -> dict[str, Any]:
    """A step, an item or a round."""
    return {
        "path": record.path,
        "id": record.id,
        "kind": record.kind,
        "status": str(record.status),
        "attempts": record.attempts,
        "output": service.output(task.task_id, record),
        "error": record.error.as_json() if record.error else None,
        "started_at": moment(record.started_at),
        "completed_at": moment(record.completed_at),
    }


def log_form(event: Event) -> dict[str, Any]:
    """A log line of a step."""
    return {
        "at": moment(event.at),
        "path": event.path,
        "attempt": event.data.get("attempt"),
        "level": event.data.get("level"),
        "message": event.data.get("message"),
    }
