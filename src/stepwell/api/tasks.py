"""Operations on tasks: list, show, cancel, retry, signal."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.concurrency import run_in_threadpool

from stepwell.api import answers, views, waiting
from stepwell.api.access import AskedBy
from stepwell.api.bodies import PAYLOAD, any_json, body_of, documented
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked, Cursor, Key, Labels, Limit, Retry, Wait
from stepwell.api_keys import ANONYMOUS
from stepwell.errors import FieldProblem, InvalidInput
from stepwell.ports import TaskFilter
from stepwell.service import Amendment
from stepwell.task import Status, Task
from stepwell.wiring import System

router = APIRouter(tags=["tasks"], prefix="/workflows/tasks")

Place = Annotated[str | None, Query(max_length=1000, description="Only those of the step with this path.")]
SignalName = Annotated[
    str,
    Path(
        max_length=1000,
        description="The path or id of an approval's step, or the name of an event.",
        examples=["release"],
    ),
]
_LABELS = {
    "parameters": [
        {
            "name": "label.{name}",
            "in": "query",
            "required": False,
            "description": "Only tasks with this label, as in `label.team=shop`; can be given several times.",
            "schema": {"type": "string"},
        }
    ]
}


@router.get(
    "",
    summary="List tasks",
    response_model=answers.Listing[answers.TaskSummary],
    responses=refusals(422),
    openapi_extra=_LABELS,
)
def list_tasks(
    system: Asked,
    labels: Labels,
    status: Status | None = None,
    workflow: Annotated[str | None, Query(max_length=200, description="The workflow's id.")] = None,
    queue: Annotated[str | None, Query(max_length=200)] = None,
    external_id: Annotated[str | None, Query(max_length=200)] = None,
    parent: Annotated[
        str | None, Query(max_length=200, description="The children of this task, and only these.")
    ] = None,
    place: Place = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Json:
    """Newest first, without their results. Their progress is what actions reported; show a task for more.

    Child tasks are only listed with `parent`, by their steps and indices.
    """
    if place is not None and parent is None:
        raise InvalidInput([FieldProblem("place", "is the path of a step of a `parent`: give that too")])
    only = TaskFilter(status, workflow, queue, external_id, labels, parent=parent, place=place)
    return _listing(system, only, limit, cursor)


@router.get("/{task_id}", summary="Show a task", response_model=answers.Task, responses=refusals(404, 422))
async def show_task(system: Asked, task_id: str, wait: Wait) -> Json:
    """With its result once it has ended; with `wait` the answer comes then."""
    task = await waiting.until_ended(system, task_id, wait)
    return await run_in_threadpool(_task, system, task)


@router.get(
    "/{task_id}/children",
    summary="List the child tasks",
    response_model=answers.Listing[answers.TaskSummary],
    responses=refusals(404, 422),
)
def list_children(
    system: Asked,
    task_id: str,
    place: Place = None,
    status: Status | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Json:
    """Those of its steps with `queue:`, by their steps and indices."""
    parent = system.service.get(task_id).task_id
    return _listing(system, TaskFilter(status, parent=parent, place=place), limit, cursor)


@router.get(
    "/{task_id}/status", summary="Show how a task is", response_model=answers.TaskStatus, responses=refusals(404)
)
def show_status(system: Asked, task_id: str) -> Json:
    """The small form of the record, for polling."""
    return Json(views.status(system.service, system.service.get(task_id), time.time()))


@router.get(
    "/{task_id}/progress", summary="Show how far a task is", response_model=answers.Progress, responses=refusals(404)
)
def show_progress(system: Asked, task_id: str) -> Json:
    """What its actions report, else what its steps tell."""
    return Json(views.progress(system.service, system.service.get(task_id), time.time()))


@router.post(
    "/{task_id}/cancel",
    summary="Cancel a task",
    response_model=answers.Task,
    response_description="It is cancelled.",
    responses={
        202: {"model": answers.Task, "description": "It will be cancelled, once what it did is undone."},
        **refusals(404, 409, 422),
    },
)
def cancel(
    system: Asked,
    task_id: str,
    force: Annotated[bool, Query(description="Interrupt a running task; without it, that is a conflict.")] = False,
) -> Json:
    """A repeat changes nothing. The conflict tells the state that the task is in (`task_status`)."""
    task = system.service.cancel(task_id, force)
    return _task(system, task, 200 if task.status is Status.CANCELLED else 202)


@router.post(
    "/{task_id}/retry",
    summary="Run an ended task again",
    status_code=202,
    response_model=answers.Task,
    response_description="It is queued again.",
    responses=refusals(404, 409, 413, 422, 503),
    openapi_extra=documented(Retry, required=False),
)
def retry(
    system: Asked,
    task_id: str,
    body: Annotated[Retry, Depends(body_of(Retry))],
    from_step: Annotated[str | None, Query(description="The id or path of a step to begin with.")] = None,
) -> Json:
    """From what failed; or from a step and all that comes after it, whatever became of them. What was undone by
    `compensate` runs again too.

    What runs sees the changed variables, and what has completed keeps its output. A child task runs again with its root
    task, and a task that has completed only from a step: without, it is a conflict.
    """
    amendment = Amendment(body.variables, latest=body.definition == "latest")
    return _task(system, system.service.retry(task_id, from_step, amendment), 202)


@router.post(
    "/{task_id}/signal/{name:path}",
    summary="Tell a task what it waits for",
    response_model=answers.Signalled,
    response_description="The task has it.",
    responses=refusals(403, 404, 409, 413, 422, 503),
    openapi_extra=PAYLOAD,
)
def signal(
    system: Asked,
    caller: AskedBy,
    task_id: str,
    name: SignalName,
    payload: Annotated[Any, Depends(any_json)],
    idempotency_key: Key = None,
) -> Json:
    """Answers an approval, named by the path or id of its step, or sends this task an event, by its name.

    The body is the answer, as the form of the approval asks for it, or the payload of the event: any JSON. What comes
    before the task waits is kept. Of two answers to an approval the first counts, and the other is a conflict; the same
    answer again changes nothing, and so does an event with the same Idempotency-Key.
    """
    sender = None if caller.name == ANONYMOUS else caller.name
    found = system.service.signal(task_id, name, payload, sender, idempotency_key)
    caller.detail["accepted"] = found.accepted
    return Json(answers.Signalled(task_id=task_id, name=found.name, accepted=found.accepted, status=found.task.status))


def _listing(system: System, only: TaskFilter, limit: int, cursor: str | None) -> Json:
    page, now = system.service.tasks(only, limit, cursor), time.time()
    items = [views.summary(task, now) for task in page.items]
    return Json(answers.Listing(items=items, next_cursor=page.next_cursor))


def _task(system: System, task: Task, status_code: int = 200) -> Json:
    return Json(views.task(system.service, task, time.time()), status_code)
