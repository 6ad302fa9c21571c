"""What tasks and steps wait for, as answers, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from stepwell import variables
from stepwell.api import answers
from stepwell.errors import short
from stepwell.service import Service
from stepwell.task import StepRecord, StepStatus, Task
from stepwell.values import iso
from stepwell.workflow import Variable

TOLD = 3
"""So many waits are told in words."""


def waiting_for(service: Service, found: Task) -> list[answers.Waiting]:
    """What a task waits for now."""
    return [_waiting(service, found.task_id, record) for record in service.waits(found)]


def wait(service: Service, task_id: str, record: StepRecord) -> answers.Wait | None:
    """What a step waits for, or has waited for."""
    if record.wait is None:
        return None
    told = record.wait
    declared: Mapping[str, Any] | None = told.get("form")
    shown = answers.Wait(
        kind=told["kind"],
        due=_due(told),
        event=told.get("event"),
        message=told.get("message"),
        form=None if declared is None else _schema(declared),
        fields=None if declared is None else dict(declared),
        approvers=told.get("approvers"),
        total=told.get("total"),
        by=told.get("by"),
    )
    if (children := _children(service, task_id, record)) is not None:
        shown.children = children
    return shown


def message(found: Task, waits: Sequence[answers.Waiting]) -> str:
    """`it waits for the approval 'release' (…): POST /api/workflows/tasks/…/signal/release`."""
    told = [_told(found, one) for one in waits[:TOLD]]
    more = [f"{len(waits) - TOLD} more"] if len(waits) > TOLD else []
    if told:
        return f"it waits {'; and '.join([*told, *more])}"
    return f"it waits until {iso(found.wake_at, 'milliseconds')}" if found.wake_at is not None else "it is waiting"


def _waiting(service: Service, task_id: str, record: StepRecord) -> answers.Waiting:
    told = record.wait or {}
    kind = told["kind"]
    shown = answers.Waiting(
        path=record.path,
        kind=kind,
        name=record.path if kind == "approval" else told.get("event"),
        message=told.get("message"),
        due=_due(told),
    )
    if (children := _children(service, task_id, record)) is not None:
        shown.children = children
    return shown


def _children(service: Service, task_id: str, record: StepRecord) -> answers.Children | None:
    """How the children of a step are, while it waits for them."""
    is_open = record.status is StepStatus.WAITING and record.wait is not None and record.wait["kind"] == "children"
    crew = service.crew(task_id, record.path) if is_open else None
    if crew is None:
        return None
    return answers.Children(total=crew.total, active=crew.active, completed=crew.completed, failed=crew.failed)


def _told(found: Task, one: answers.Waiting) -> str:
    until = f"until {one.due}" if one.due is not None else ""
    if one.kind == "time":
        return until
    if one.kind == "children":
        total = f"{one.children.total:,} " if one.children is not None else ""
        return f"for the {total}child tasks of {one.path!r}"
    asked = f" ({short(one.message)})" if one.message else ""
    signal = f"POST /api/workflows/tasks/{found.task_id}/signal/{quote(one.name or '')}"
    return " ".join(filter(None, (f"for the {one.kind} {one.name!r}{asked}", until))) + f": {signal}"


def _due(told: Mapping[str, Any]) -> str | None:
    due = told.get("due")
    return None if due is None else iso(due, "milliseconds")


def _schema(declared: Mapping[str, Any]) -> dict[str, Any]:
    return variables.json_schema({name: Variable.model_validate(one) for name, one in declared.items()})
