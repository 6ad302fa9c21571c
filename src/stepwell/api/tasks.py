"""Operations on tasks: list, show, cancel, retry."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from stepwell.api import answers, views, waiting
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked, Cursor, Labels, Limit, Wait
from stepwell.ports import TaskFilter
from stepwell.task import Status, Task
from stepwell.wiring import System

router = APIRouter(tags=["tasks"], prefix="/workflows/tasks")

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
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Json:
    """Newest first, without their results. Their progress is what actions reported; show a task for more."""
    only = TaskFilter(status, workflow, queue, external_id, labels)
    page = system.service.tasks(only, limit, cursor)
    now = time.time()
    items = [views.summary(task, now) for task in page.items]
    return Json(answers.Listing(items=items, next_cursor=page.next_cursor))


@router.get("/{task_id}", summary="Show a task", response_model=answers.Task, responses=refusals(404, 422))
async def show_task(system: Asked, task_id: str, wait: Wait) -> Json:
    """With its result once it has ended; with `wait` the answer comes then."""
    task = await waiting.until_ended(system, task_id, wait)
    return await run_in_threadpool(_task, system, task)


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
    responses=refusals(404, 409, 422, 503),
)
def retry(
    system: Asked,
    task_id: str,
    from_step: Annotated[str | None, Query(description="The id or path of a step to begin with.")] = None,
) -> Json:
    """From what failed; or from a step and all that comes after it, whatever became of them."""
    return _task(system, system.service.retry(task_id, from_step), 202)


def _task(system: System, task: Task, status_code: int = 200) -> Json:
    return Json(views.task(system.service, task, time.time()), status_code)
