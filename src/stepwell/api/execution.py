"""Operations that run workflows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool

from stepwell.api import answers, views, waiting
from stepwell.api.access import AskedBy, Caller
from stepwell.api.bodies import body_of, documented
from stepwell.api.json_response import Json
from stepwell.api.openapi import Responses, refusals
from stepwell.api.requests import MAX_WORD, Asked, BatchExecution, Execution, Key, Priority, start_delay, start_time
from stepwell.errors import FieldProblem, InvalidInput, Unavailable
from stepwell.service import Submission
from stepwell.task import Task
from stepwell.wiring import System

router = APIRouter(tags=["workflows"])

NO_QUEUE = "QUEUE_ENABLED is false, so the task runs in the process of the API"

_ACCEPTED: Responses = {
    202: {
        "model": answers.Accepted,
        "description": "It has not ended: it is queued, starts later, or waits.",
        "headers": {"Location": {"description": "The task.", "schema": {"type": "string"}}},
    }
}


@router.post(
    "/workflows/{workflow_id}/execute",
    summary="Run a workflow",
    response_model=answers.Executed,
    response_description="It ran inline and has ended; `status` tells how.",
    responses={**_ACCEPTED, **refusals(404, 409, 413, 422, 503)},
    openapi_extra=documented(Execution, required=False),
)
async def execute(
    system: Asked,
    caller: AskedBy,
    workflow_id: str,
    body: Annotated[Execution, Depends(body_of(Execution))],
    async_execute: Annotated[bool, Query(description="Answer when the task is queued.")] = False,
    priority: Annotated[Priority, Query()] = None,
    delay: Annotated[
        str | None, Query(max_length=MAX_WORD, description="Start so much later, in seconds or as 5m.")
    ] = None,
    idempotency_key: Key = None,
) -> Json:
    """With `async_execute=true` and a queue the task goes to a worker, and the answer comes at once.

    Else it runs in this process, and the answer comes when it has ended or waits; also while Redis is away, and then
    it tells so (`degraded`). With `INLINE_ASYNC=background` an answer to `async_execute=true` never waits.
    """
    given = body.model_copy(update={"priority": priority or body.priority, "delay": delay or body.delay})
    queued = async_execute and system.settings.queue_enabled
    task = await run_in_threadpool(_submit, system, caller, workflow_id, given, idempotency_key, not queued)
    reason = (system.why_here(task.task_id) if queued else NO_QUEUE) if async_execute else None
    waits = not async_execute or system.settings.inline_async == "wait"
    with _named(task):
        if waits and not (queued and reason is None):
            task = await waiting.until_through(system, task.task_id)
        return await run_in_threadpool(_answer, system, task, reason)


@router.post(
    "/workflows/{workflow_id}/execute/batch",
    summary="Run a workflow many times",
    status_code=202,
    response_model=answers.Batch,
    response_description="All are accepted; their order is that of the items.",
    responses=refusals(404, 409, 413, 422, 503),
    openapi_extra=documented(BatchExecution, required=True),
)
def execute_batch(
    system: Asked,
    caller: AskedBy,
    workflow_id: str,
    body: Annotated[BatchExecution, Depends(body_of(BatchExecution))],
    async_execute: Annotated[bool, Query(description="Only `true`: nobody waits for a batch.")] = True,
    idempotency_key: Key = None,
) -> Json:
    """All items are checked, and there is room for all of them, or none is run. The answer comes at once."""
    if not async_execute:
        raise InvalidInput([FieldProblem("async_execute", "must be true: a batch is answered at once")])
    queued = system.settings.queue_enabled
    if not queued:
        _check_size(system, len(body.items))
    definition = system.service.catalog.get(workflow_id)
    caller.spend(system.store, len(body.items))
    keys = [idempotency_key and f"{idempotency_key}/{number}" for number in range(len(body.items))]
    submissions = [_submission(item, key, caller) for item, key in zip(body.items, keys, strict=True)]
    tasks = system.service.submit_many(definition, submissions)
    caller.detail["tasks"] = len(tasks)
    items = [views.accepted(system.service, task, **_degraded(system.why_here(task.task_id))) for task in tasks]
    return Json(answers.Batch(items=items), 202)


def _check_size(system: System, count: int) -> None:
    """Raise `InvalidInput` for more items than even an idle pool has room for: trying again would not help."""
    bound = system.settings.inline_max_concurrency + system.settings.inline_queue_max_size
    if count > bound:
        message = f"{count} are more than the {bound} that ever fit (INLINE_MAX_CONCURRENCY + INLINE_QUEUE_MAX_SIZE)"
        raise InvalidInput([FieldProblem("items", f"{message}: send smaller batches, or raise the setting")])


def _submit(system: System, caller: Caller, workflow_id: str, given: Execution, key: str | None, here: bool) -> Task:
    definition = system.service.catalog.get(workflow_id)
    caller.spend(system.store, 1)
    task = system.service.submit(definition, _submission(given, key, caller), here)
    caller.detail["task_id"] = task.task_id
    return task


@contextmanager
def _named(task: Task) -> Iterator[None]:
    """Inside, a refusal names the task: it is there, whatever cannot be told of it now."""
    try:
        yield
    except Unavailable as error:
        raise Unavailable(str(error), retry_after=error.retry_after, task_id=task.task_id) from error


def _submission(given: Execution, key: str | None, caller: Caller) -> Submission:
    return Submission(
        variables=given.variables,
        priority=given.priority,
        queue=given.queue,
        timeout=given.timeout,
        max_retries=given.max_retries,
        delay=start_delay(given.delay),
        run_at=start_time(given.run_at),
        external_id=given.external_id,
        idempotency_key=key,
        labels=given.labels,
        trigger={"kind": "api", "actor": caller.name},
    )


def _degraded(reason: str | None) -> dict[str, Any]:
    return {} if reason is None else {"degraded": True, "reason": reason}


def _answer(system: System, task: Task, reason: str | None) -> Json:
    more = _degraded(reason)
    if task.ended:
        message = f"{task.workflow_id} {task.status}" + (f": {task.error.message}" if task.error else "")
        return Json(views.executed(system.service, task, time.time(), message, **more))
    location = {"Location": f"/api/workflows/tasks/{task.task_id}"}
    return Json(views.accepted(system.service, task, **more), 202, location)
