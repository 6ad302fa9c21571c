"""Operations on queues: statistics, workers, dead letters; pause, resume, clear."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from stepwell.api import answers, views
from stepwell.api.bodies import body_of, documented
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.problems import without_address
from stepwell.api.requests import Asked, Cursor, Limit, Words
from stepwell.errors import FieldProblem, InvalidInput

router = APIRouter(tags=["queues"])

QueueName = Annotated[str | None, Query(max_length=100, description="Only those of this queue.")]


class DeadLetters(BaseModel):
    """Which dead letters: those with these ids, else all of a queue. One of the two must be said."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"queue": "workflow_execute"}]})

    queue: Words | None = None
    task_ids: Annotated[list[Words], Field(min_length=1, max_length=1000)] | None = None

    def checked(self) -> DeadLetters:
        """Raises `InvalidInput` unless exactly one of the two is given."""
        if (self.queue is None) == (self.task_ids is None):
            raise InvalidInput([FieldProblem("queue", "give either queue or task_ids")])
        return self


@router.get("/queue/stats", summary="Queue statistics (alias)", response_model=answers.Statistics)
@router.get("/workflows/queue/stats", summary="Queue statistics", response_model=answers.Statistics)
def show_statistics(system: Asked) -> Json:
    """Every queue, and those who work them off; `enabled` tells whether tasks go to workers."""
    with without_address():
        return Json(answers.Statistics(**system.operations.stats()))


@router.get("/workflows/workers", summary="Workers", response_model=answers.Listing[answers.Worker])
def list_workers(system: Asked) -> Json:
    """Those that are alive, with what each of their work-horses does."""
    items = [views.worker(worker) for worker in system.operations.workers()]
    return Json(answers.Listing(items=items, next_cursor=None))


@router.get(
    "/workflows/queue/dead-letters",
    summary="List dead letters",
    response_model=answers.Listing[answers.TaskSummary],
    responses=refusals(422),
)
def list_dead_letters(system: Asked, queue: QueueName = None, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Tasks that have failed for good and were neither requeued nor discarded, newest first."""
    page = system.operations.dead_letters(queue, limit, cursor)
    now = time.time()
    return Json(answers.Listing(items=[views.summary(task, now) for task in page.items], next_cursor=page.next_cursor))


@router.post(
    "/workflows/queue/dead-letters/requeue",
    summary="Requeue dead letters",
    response_model=answers.Changed,
    responses=refusals(404, 409, 413, 422, 503),
    openapi_extra=documented(DeadLetters, required=True),
)
def requeue_dead_letters(system: Asked, body: Annotated[DeadLetters, Depends(body_of(DeadLetters))]) -> Json:
    """Each goes on from what failed, with all its retries again."""
    which = body.checked()
    return Json(answers.Changed(tasks=system.operations.requeue(which.queue, which.task_ids)))


@router.post(
    "/workflows/queue/dead-letters/discard",
    summary="Discard dead letters",
    response_model=answers.Changed,
    responses=refusals(404, 409, 413, 422, 503),
    openapi_extra=documented(DeadLetters, required=True),
)
def discard_dead_letters(system: Asked, body: Annotated[DeadLetters, Depends(body_of(DeadLetters))]) -> Json:
    """They stay `failed`, and their records are kept as long as all others."""
    which = body.checked()
    return Json(answers.Changed(tasks=system.operations.discard(which.queue, which.task_ids)))


@router.post(
    "/workflows/queue/{queue}/pause",
    summary="Pause a queue",
    response_model=answers.QueueState,
    responses=refusals(422, 503),
)
def pause(system: Asked, queue: str) -> Json:
    """No task of it starts any more; those that run go on, new ones are accepted."""
    system.operations.pause(queue)
    return Json(answers.QueueState(queue=queue, paused=True))


@router.post(
    "/workflows/queue/{queue}/resume",
    summary="Resume a queue",
    response_model=answers.QueueState,
    responses=refusals(422, 503),
)
def resume(system: Asked, queue: str) -> Json:
    """Its tasks start again."""
    system.operations.resume(queue)
    return Json(answers.QueueState(queue=queue, paused=False))


@router.post(
    "/workflows/queue/{queue}/clear",
    summary="Clear a queue",
    response_model=answers.Changed,
    responses=refusals(422, 503),
)
def clear(system: Asked, queue: str) -> Json:
    """Cancels every task that is queued in it; those that run, wait or start later are left alone."""
    return Json(answers.Changed(tasks=system.operations.clear(queue)))
