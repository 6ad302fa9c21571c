"""What a task becomes: one function for each thing that can happen to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stepwell.errors import Conflict
from stepwell.lifecycle.tables import move
from stepwell.task import ENDED, Error, NewTask, Status, StepRecord, Stored, Task

MAX_CRASHES = 3
"""So many lost workers without a newly committed step end a task as `failed`, code `worker_lost`."""

CRASH_DELAY = 2.0
"""Seconds before a task goes on after its second lost worker without a newly committed step; doubled each time."""


def created(new: NewTask, now: float, held: bool = False) -> Task:
    """The task that a caller asked for: `pending` if it is due later than now, or a child that is `held` until another
    one has ended, else `queued`."""
    due = max(now + new.delay, new.run_at or 0.0)
    return Task(
        task_id=new.task_id,
        workflow_id=new.workflow_id,
        definition=new.definition,
        status=Status.PENDING if held or due > now else Status.QUEUED,
        queue=new.queue,
        priority=new.priority,
        variables=new.variables,
        created_at=now,
        updated_at=now,
        timeout=new.timeout,
        max_retries=new.max_retries,
        wake_at=due if due > now else None,
        undo=new.undo,
        external_id=new.external_id,
        idempotency_key=new.idempotency_key,
        fingerprint=new.fingerprint,
        labels=new.labels,
        trigger=new.trigger,
        attempt=new.attempt,
        ancestors=new.ancestors,
        place=new.place,
        index=new.index,
        part=new.part,
        undoing=new.undoing,
    )


def same_request(task: Task, new: NewTask) -> None:
    """Raise `Conflict` if an idempotency key is used again for another workflow or other variables."""
    if task.fingerprint != new.fingerprint:
        raise Conflict(
            f"idempotency key {new.idempotency_key!r} belongs to task {task.task_id}, which has another workflow"
            " or other variables: use a new key",
            status=task.status,
        )


def started(task: Task, now: float, worker: str) -> Task:
    """A worker claimed it."""
    move(task.status, Status.RUNNING)
    first = now if task.started_at is None else task.started_at
    return replace(task, status=Status.RUNNING, started_at=first, worker=worker, updated_at=now)


def committed(task: Task, now: float, records: Iterable[StepRecord], progress: Mapping[str, Any] | None) -> Task:
    """Records were committed; an ended one shows that the task makes headway in spite of crashes."""
    headway = any(record.ended for record in records)
    return replace(
        task,
        updated_at=now,
        crashes=0 if headway else task.crashes,
        progress=task.progress if progress is None else progress,
    )


def finished(task: Task, now: float, ran: float, status: Status, outputs: Stored | None, error: Error | None) -> Task:
    """Its worker ended it after `ran` more seconds of running."""
    if status not in ENDED:
        raise Conflict(f"a task cannot finish as {status}", status=task.status)
    move(task.status, status)
    return replace(
        _unclaimed(task, now, ran),
        status=status,
        outputs=outputs,
        error=error,
        completed_at=now,
        wake_at=None,
        dead=status is Status.FAILED and not task.ancestors,
    )


def suspended(task: Task, now: float, ran: float, due: float | None, has_come: bool, undoing: bool = False) -> Task:
    """It waits until `due`, or for what wakes it, without its earlier `error`; `queued` at once if that `has_come`
    already, or to be cancelled, unless it is `undoing`: then that is what it waits in."""
    move(task.status, Status.WAITING)
    after = replace(_unclaimed(task, now, ran), error=None)
    is_to_end = task.cancel_requested and not undoing
    if has_come or is_to_end or (due is not None and due <= now):
        return replace(after, status=Status.QUEUED)
    return replace(after, status=Status.WAITING, wake_at=due)


def backed_off(task: Task, now: float, ran: float, pause: float, error: Error | None) -> Task:
    """Its worker gave it up for a pause before its next attempt; a requested cancel makes it due at once."""
    move(task.status, Status.WAITING)
    return replace(
        _unclaimed(task, now, ran),
        status=Status.WAITING,
        wake_at=now if task.cancel_requested else now + pause,
        attempt=task.attempt + 1,
        retry_count=task.retry_count + 1,
        error=error,
    )


def handed_back(task: Task, now: float, ran: float, pause: float = 0.0) -> Task:
    """Its worker gave it back unharmed: `queued`, or `waiting` for `pause` seconds before another one tries."""
    _only(task, Status.RUNNING)
    after = _unclaimed(task, now, ran)
    if pause <= 0 or task.cancel_requested:
        return replace(after, status=Status.QUEUED)
    return replace(after, status=Status.WAITING, wake_at=now + pause)


def lost(task: Task, now: float, ran: float) -> Task:
    """Its worker was lost: `queued` again, from the second time without a newly committed step on after a pause
    (`waiting`), or `failed` after the third."""
    _only(task, Status.RUNNING)
    crashes = task.crashes + 1
    after = replace(_unclaimed(task, now, ran), crashes=crashes)
    if crashes >= MAX_CRASHES:
        message = f"its worker was lost {crashes} times without a newly committed step (the last was {task.worker})"
        error = Error(code="worker_lost", message=message, attempt=task.attempt, retryable=False)
        return replace(after, status=Status.FAILED, error=error, completed_at=now, dead=not task.ancestors)
    if crashes == 1 or task.cancel_requested:
        return replace(after, status=Status.QUEUED)
    return replace(after, status=Status.WAITING, wake_at=now + CRASH_DELAY * 2 ** (crashes - 2))


def woken(task: Task, now: float) -> Task:
    """Its time has come."""
    _only(task, Status.PENDING, Status.WAITING)
    return replace(task, status=Status.QUEUED, wake_at=None, updated_at=now)


def cancelled(task: Task, now: float, force: bool) -> Task:
    """Cancel it at once if nothing runs and nothing is to be undone; else note the request, and queue a waiting one.

    A repeat changes nothing. Raises `Conflict` for a running task unless `force`, and for one that ended otherwise,
    be it in spite of a request.
    """
    if task.status is Status.CANCELLED:
        return task
    if task.ended:
        raise Conflict(f"the task is {task.status} already", status=task.status)
    if task.cancel_requested:
        return task
    if task.status is Status.RUNNING and not force:
        raise Conflict("the task is running: cancel it with force to interrupt its steps", status=task.status)
    has_begun = task.started_at is not None and task.status is not Status.PENDING  # held again: undone before
    if task.status is Status.RUNNING or (task.undo and has_begun):
        queued = Status.QUEUED if task.status is Status.WAITING else task.status
        wake_at = None if queued is Status.QUEUED else task.wake_at
        return replace(task, status=queued, wake_at=wake_at, cancel_requested=True, updated_at=now)
    move(task.status, Status.CANCELLED)
    return replace(task, status=Status.CANCELLED, wake_at=None, completed_at=now, updated_at=now)


def disowned(task: Task, ancestors: Iterable[Task]) -> Task:
    """A child whose ancestor was cancelled, or has ended without it, is to be cancelled too; one that is made to undo
    only if an ancestor has ended."""
    over = any(ancestor.ended or (ancestor.cancel_requested and not task.undoing) for ancestor in ancestors)
    return replace(task, cancel_requested=True) if over and not task.ended else task


def retried(task: Task, now: float, attempt: int | None = None, held: bool = False) -> Task:
    """Queue an ended task again, by hand, or as a child in a new round (`pending` while it is `held`): its retries,
    crashes and running time count afresh. It is `attempt` then, or one more."""
    _only(task, *ENDED)
    return replace(
        task,
        status=Status.PENDING if held else Status.QUEUED,
        attempt=attempt or task.attempt + 1,
        retry_count=0,
        crashes=0,
        ran_for=0.0,
        completed_at=None,
        dead=False,
        cancel_requested=False,
        outputs=None,
        error=None,
        progress=None,
        updated_at=now,
    )


def discarded(task: Task, now: float) -> Task:
    """Take a task out of the dead letters: it stays `failed`. A repeat changes nothing."""
    _only(task, Status.FAILED)
    return replace(task, dead=False, updated_at=now) if task.dead else task


def _only(task: Task, *statuses: Status) -> None:
    """Several states lead to `queued`, each in its own way: refuse the others."""
    if task.status not in statuses:
        wanted = " or ".join(sorted(statuses))
        raise Conflict(f"the task is {task.status}, and this is for one that is {wanted}", status=task.status)


def _unclaimed(task: Task, now: float, ran: float) -> Task:
    return replace(task, worker=None, ran_for=task.ran_for + max(0.0, ran), updated_at=now)
