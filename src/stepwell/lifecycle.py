"""The state machine of tasks and steps, as pure functions that every store applies: record in, record out.

A store reads a `Task`, asks one function here what it becomes, and writes the answer together with
`task_events` and `count_changes` of the pair (before, after), in one transaction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tenacity import RetryCallState, Retrying, wait_exponential

from stepwell.errors import Conflict
from stepwell.task import ENDED, Error, NewEvent, NewTask, Status, StepRecord, StepStatus, Stored, Task

MAX_CRASHES = 3
"""So many lost workers without a newly committed step end a task as `failed`, code `worker_lost`."""

CRASH_DELAY = 2.0
"""Seconds before a task goes on after its second lost worker without a newly committed step; doubled each time."""

TASK_RETRY_DELAY = 2.0
TASK_RETRY_BACKOFF = 2.0
TASK_RETRY_MAX_DELAY = 300.0
"""The pauses before the retries of a whole task, in seconds: 2, 4, 8, …, 300."""

TASK_MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.WAITING, *ENDED}),
    Status.WAITING: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.COMPLETED: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
}

STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    StepStatus.PENDING: frozenset({StepStatus.RUNNING, StepStatus.SKIPPED, StepStatus.CANCELLED}),
    StepStatus.RUNNING: frozenset(
        {
            StepStatus.PENDING,
            StepStatus.WAITING,
            StepStatus.COMPLETED,
            StepStatus.FAILED,
            StepStatus.SKIPPED,
            StepStatus.CANCELLED,
        }
    ),
    StepStatus.WAITING: frozenset({StepStatus.RUNNING, StepStatus.CANCELLED}),
    StepStatus.COMPLETED: frozenset({StepStatus.PENDING}),
    StepStatus.FAILED: frozenset({StepStatus.PENDING}),
    StepStatus.SKIPPED: frozenset({StepStatus.PENDING}),
    StepStatus.CANCELLED: frozenset({StepStatus.PENDING}),
}
"""Ended steps become `pending` only when a retry by hand resets them."""

QUEUED_BY_PRIORITY = ("queued:0", "queued:1", "queued:2", "queued:3")

COUNTERS = (
    *Status,
    *QUEUED_BY_PRIORITY,
    "dead",
    "created_total",
    "completed_total",
    "failed_total",
    "timeout_total",
    "cancelled_total",
    "retried_total",
)
"""The counters of a queue: tasks in each state, queued ones by priority, dead letters; and how many ever were
created, ended so, or were retried."""

_STEP_EVENTS = {
    StepStatus.PENDING: "step.retrying",
    StepStatus.RUNNING: "step.started",
    StepStatus.COMPLETED: "step.completed",
    StepStatus.FAILED: "step.failed",
    StepStatus.SKIPPED: "step.skipped",
    StepStatus.CANCELLED: "step.cancelled",
}
_MESSAGE_LENGTH = 1000
_TASK_BLOCKS = ("on_failure/", "on_cancel/", "finally/")
_DONE = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
_UNDONE = frozenset({StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.RUNNING, StepStatus.WAITING})
_INSIDE = re.compile(r"[/\[]")


def move(before: Status, after: Status) -> None:
    """Raise `Conflict` unless a task may go from one state to the other."""
    if after not in TASK_MOVES[before]:
        raise Conflict(f"a {before} task cannot become {after}", status=before)


def move_step(before: StepStatus, after: StepStatus) -> None:
    """Raise `Conflict` unless a step may go from one state to the other."""
    if after not in STEP_MOVES[before]:
        raise Conflict(f"a {before} step cannot become {after}")


def created(new: NewTask, now: float) -> Task:
    """The task that a caller asked for: `pending` if it is due later than now, else `queued`."""
    due = max(now + new.delay, new.run_at or 0.0)
    return Task(
        task_id=new.task_id,
        workflow_id=new.workflow_id,
        definition=new.definition,
        status=Status.PENDING if due > now else Status.QUEUED,
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


def allowed(records: Sequence[StepRecord], cancelled: bool, undoing: bool) -> Sequence[StepRecord]:
    """The records of a commit that are written, the last one of each path.

    After a cancel was requested no step is announced, unless to undo.
    """
    if cancelled and not undoing:
        records = [record for record in records if record.status is not StepStatus.RUNNING]
    by_path = {record.path: record for record in records}
    return records if len(by_path) == len(records) else list(by_path.values())


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
        dead=status is Status.FAILED,
    )


def suspended(task: Task, now: float, ran: float, pause: float, error: Error | None) -> Task:
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
        return replace(after, status=Status.FAILED, error=error, completed_at=now, dead=True)
    if crashes == 1 or task.cancel_requested:
        return replace(after, status=Status.QUEUED)
    return replace(after, status=Status.WAITING, wake_at=now + CRASH_DELAY * 2 ** (crashes - 2))


def woken(task: Task, now: float) -> Task:
    """Its time has come."""
    _only(task, Status.PENDING, Status.WAITING)
    return replace(task, status=Status.QUEUED, wake_at=None, updated_at=now)


def cancelled(task: Task, now: float, force: bool) -> Task:
    """Cancel it at once if nothing runs and nothing is to be undone; else note the request, and queue a waiting one.

    A repeat changes nothing. Raises `Conflict` for a running task unless `force`, and for one that ended otherwise.
    """
    if task.status is Status.CANCELLED or task.cancel_requested:
        return task
    if task.ended:
        raise Conflict(f"the task is {task.status} already", status=task.status)
    if task.status is Status.RUNNING and not force:
        raise Conflict("the task is running: cancel it with force to interrupt its steps", status=task.status)
    if task.status is Status.RUNNING or (task.undo and task.started_at is not None):
        queued = Status.QUEUED if task.status is Status.WAITING else task.status
        wake_at = None if queued is Status.QUEUED else task.wake_at
        return replace(task, status=queued, wake_at=wake_at, cancel_requested=True, updated_at=now)
    move(task.status, Status.CANCELLED)
    return replace(task, status=Status.CANCELLED, wake_at=None, completed_at=now, updated_at=now)


def retried(task: Task, now: float) -> Task:
    """Queue an ended task again, by hand: its retries, crashes and running time count afresh."""
    _only(task, *ENDED)
    return replace(
        task,
        status=Status.QUEUED,
        attempt=task.attempt + 1,
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


def to_reset(records: Sequence[StepRecord], paths: Iterable[str] | None = None) -> list[str]:
    """The paths of the records that a retry begins afresh.

    These are the steps that failed for good, were cancelled or were left running, the failure blocks inside
    them, and the task's own final blocks; nothing inside what completed, was skipped or was tolerated. `paths`
    names further steps: they, all inside them, and all around them are reset whatever became of them.
    """
    chosen = set(paths or ())
    around = {ancestor for path in chosen for ancestor in ancestors(path)}
    by_path = {record.path: record for record in records}
    return [
        record.path
        for record in records
        if record.path in around or _is_within(record.path, chosen) or _is_undone(record, by_path)
    ]


def reset(record: StepRecord) -> StepRecord:
    """The record as before its first try; attempts and history are kept."""
    return replace(
        record,
        status=StepStatus.PENDING,
        tries=0,
        started_at=None,
        inputs=None,
        completed_at=None,
        output=None,
        error=None,
        tolerated=False,
        failures=(),
        files={},
    )


def ancestors(path: str) -> Iterator[str]:
    """The paths around a step, from the outermost: `a`, `a/b`, `a/b[3]` for `a/b[3]/c`."""
    return (path[: found.start()] for found in _INSIDE.finditer(path))


def step_event(record: StepRecord) -> NewEvent | None:
    """What is told when this record is written; nothing for a step that has not begun, or that waits."""
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
    if (before is None and after.status is Status.QUEUED) or (before is not None and before.status != after.status):
        kinds.append("task.started" if after.status is Status.RUNNING else f"task.{after.status}")
    told = after.error if after.ended or after.status is Status.WAITING else None
    data = {"attempt": after.attempt, **_error_data(told)}
    return [NewEvent(kind, None, data) for kind in kinds]


def count_changes(before: Task | None, after: Task | None) -> dict[str, int]:
    """What a move adds to the counters of the task's queue; None stands for a task that is not there.

    A time-out counts under `timeout_total` and under `failed_total`.
    """
    changes: Counter[str] = Counter()
    if before is not None:
        changes.subtract(_gauges(before))
    if after is not None:
        changes.update(_gauges(after))
        changes.update(_totals(before, after))
    return {name: change for name, change in changes.items() if change}


def pause_before(
    retry_number: int, delay: float, backoff: float, max_delay: float, jitter_random: float | None
) -> float:
    """Seconds to wait before a retry (counted from 1): `delay * backoff ** (retry_number - 1)`, at most `max_delay`.

    `jitter_random`, from 0 to 1, spreads it over its upper half; None leaves it exact.
    """
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = retry_number
    pause = wait_exponential(multiplier=delay, exp_base=backoff, max=max_delay)(state)
    return pause if jitter_random is None else pause * (1 + jitter_random) / 2


def _only(task: Task, *statuses: Status) -> None:
    """Several states lead to `queued`, each in its own way: refuse the others."""
    if task.status not in statuses:
        wanted = " or ".join(sorted(statuses))
        raise Conflict(f"the task is {task.status}, and this is for one that is {wanted}", status=task.status)


def _unclaimed(task: Task, now: float, ran: float) -> Task:
    return replace(task, worker=None, ran_for=task.ran_for + max(0.0, ran), updated_at=now)


def _gauges(task: Task) -> Iterator[str]:
    yield task.status
    if task.status is Status.QUEUED:
        yield QUEUED_BY_PRIORITY[task.priority]
    if task.dead:
        yield "dead"


def _totals(before: Task | None, after: Task) -> Iterator[str]:
    if before is None:
        yield "created_total"
        return
    if before.status == after.status:
        return
    if after.ended:
        yield f"{after.status}_total"
        if after.error is not None and after.error.code == "timeout":
            yield "timeout_total"
    if after.attempt > before.attempt:
        yield "retried_total"


def _is_within(path: str, chosen: set[str]) -> bool:
    return path in chosen or not chosen.isdisjoint(ancestors(path))


def _is_undone(record: StepRecord, by_path: Mapping[str, StepRecord]) -> bool:
    if record.path.startswith(_TASK_BLOCKS):
        return True
    owner, block, _ = record.path.partition("/on_failure/")
    if block:
        return owner in by_path and _is_undone(by_path[owner], by_path)
    around = [by_path[path] for path in ancestors(record.path) if path in by_path]
    if any(outer.status in _DONE or outer.tolerated for outer in around):
        return False
    return record.status in _UNDONE and not record.tolerated


def _error_data(error: Error | None) -> dict[str, Any]:
    return {} if error is None else {"code": error.code, "message": error.message[:_MESSAGE_LENGTH]}
