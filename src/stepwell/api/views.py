"""Records of tasks as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.api import answers, wait_views
from stepwell.ports import WorkerView
from stepwell.service import Service
from stepwell.task import Error, Event, Status, StepRecord, StepStatus, Task
from stepwell.values import decode, iso
from stepwell.workflow import PRIORITIES

PAGE = 200
MAX_PAGES = 5
"""So many step records are read at a time, and so many times, to tell how far a task is."""

_REPORTED = frozenset({"progress_percent", "stage"})
_LEVELS: Mapping[int, Any] = {level: name for name, level in PRIORITIES.items()}


def time(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601, in UTC, with milliseconds and a Z."""
    return iso(seconds, "milliseconds")


def error(found: Error | None) -> answers.Error | None:
    """Why something failed."""
    return None if found is None else answers.Error(**found.as_json())


def summary(found: Task, now: float) -> answers.TaskSummary:
    """A task as its record alone tells, for lists."""
    return answers.TaskSummary(**_summary(found, _progress(found, now, None, None)))


def task(service: Service, found: Task, now: float) -> answers.Task:
    """A task with its result."""
    waiting = _waiting_for(wait_views.waiting_for(service, found))
    return answers.Task(**_summary(found, progress(service, found, now)), result=_result(service, found), **waiting)


def executed(service: Service, found: Task, now: float, message: str, **more: Any) -> answers.Executed:
    """A task that ran inline and has ended."""
    fields = _summary(found, progress(service, found, now))
    return answers.Executed(**fields, result=_result(service, found), message=message, **more)


def accepted(service: Service, found: Task, **more: Any) -> answers.Accepted:
    """A task that has not ended."""
    ahead = service.ahead(found) if found.status is Status.QUEUED else 0
    waits = wait_views.waiting_for(service, found) if found.status is Status.WAITING else []
    return answers.Accepted(
        task_id=found.task_id,
        status=found.status,
        message=_message(found, ahead, waits),
        workflow_id=found.workflow_id,
        queue=found.queue,
        priority=_LEVELS[found.priority],
        ahead=ahead,
        **_waiting_for(waits),
        **more,
    )


def status(service: Service, found: Task, now: float) -> answers.TaskStatus:
    """The small form of a task."""
    how_far = progress(service, found, now)
    return answers.TaskStatus(
        task_id=found.task_id,
        state=found.status,
        progress=how_far.progress_percent,
        estimated_time=(how_far.eta_seconds or None) if found.status is Status.RUNNING else None,
        error_details=error(found.error),
        updated_at=time(found.updated_at),
    )


def progress(service: Service, found: Task, now: float) -> answers.Progress:
    """How far a task is: what its actions reported, else what its outermost steps tell."""
    done, running = None, None
    if found.status is not Status.COMPLETED and found.started_at is not None and _REPORTED - _said(found).keys():
        done, running = _outermost(service, found)
    return _progress(found, now, done, running)


def _progress(found: Task, now: float, done: float | None, running: str | None) -> answers.Progress:
    """What the record tells, where it does not `done` percent and the step that is `running`."""
    reported = _said(found)
    percent = reported.get("progress_percent", done)
    if found.status is Status.COMPLETED:
        percent = 100.0
    elif percent is not None or found.started_at is None:
        percent = min(100.0, max(0.0, float(percent or 0.0)))
    return answers.Progress(
        status=found.status,
        stage=reported.get("stage", running),
        progress_percent=percent,
        message=reported.get("message"),
        filename=reported.get("filename"),
        current_bytes=reported.get("current_bytes", 0),
        total_bytes=reported.get("total_bytes", 0),
        speed=reported.get("speed", 0.0),
        eta_seconds=reported.get("eta_seconds", _left(found, percent, now)),
        error=None if found.error is None else found.error.message,
    )


def step(service: Service, found: Task, record: StepRecord) -> answers.Step:
    """A step with its output; one that had begun when its task ended is shown as cancelled."""
    optional: dict[str, Any] = {"wait": wait_views.wait(service, found.task_id, record), "winner": record.winner}
    left = found.ended and record.status in (StepStatus.RUNNING, StepStatus.WAITING)
    return answers.Step(
        id=record.id,
        path=record.path,
        kind=record.kind,
        status=StepStatus.CANCELLED if left else record.status,
        attempts=record.attempts,
        started_at=_maybe_time(record.started_at),
        completed_at=_maybe_time(record.completed_at),
        inputs=None if record.inputs is None else decode(record.inputs),
        output=service.output(found.task_id, record),
        error=error(record.error),
        failures=list(record.failures),
        files=dict(record.files),
        history=[
            answers.Attempt(
                number=one.number,
                started_at=time(one.started_at),
                completed_at=_maybe_time(one.completed_at),
                worker=one.worker,
                error=error(one.error),
            )
            for one in record.history
        ],
        **{name: value for name, value in optional.items() if value is not None},
    )


def worker(found: WorkerView) -> answers.Worker:
    """A worker with its work-horses."""
    return answers.Worker(
        name=found.name,
        host=found.host,
        pid=found.pid,
        state=found.state,
        queues=list(found.queues),
        started_at=time(found.started_at),
        heartbeat_at=time(found.heartbeat_at),
        horses=[
            answers.Horse(
                name=horse.name,
                pid=horse.pid,
                state=horse.state,
                since=time(horse.since),
                task_id=horse.task_id,
                step=horse.path,
            )
            for horse in found.horses
        ],
    )


def event(found: Event) -> answers.Event:
    """A fact about a task."""
    return answers.Event(id=found.id, at=time(found.at), kind=found.kind, path=found.path, data=dict(found.data))


def log_line(found: Event) -> answers.LogLine:
    """The line of an event of kind `log`."""
    return answers.LogLine(
        id=found.id,
        at=time(found.at),
        path=found.path,
        attempt=found.data.get("attempt"),
        level=found.data.get("level", "info"),
        message=found.data.get("message", ""),
    )


def _said(found: Task) -> dict[str, Any]:
    """What actions reported."""
    return {name: value for name, value in (found.progress or {}).items() if value is not None}


def _summary(found: Task, how_far: answers.Progress) -> dict[str, Any]:
    return {
        "task_id": found.task_id,
        "type": found.queue,
        "workflow_id": found.workflow_id,
        "status": found.status,
        "created_at": time(found.created_at),
        "started_at": _maybe_time(found.started_at),
        "completed_at": _maybe_time(found.completed_at),
        "updated_at": time(found.updated_at),
        "error": error(found.error),
        "retry_count": found.retry_count,
        "max_retries": found.max_retries,
        "queue": found.queue,
        "priority": _LEVELS[found.priority],
        "external_id": found.external_id,
        "labels": dict(found.labels),
        "progress": how_far,
        **({} if found.wake_at is None else {"wake_at": time(found.wake_at)}),
        **_family(found),
    }


def _family(found: Task) -> dict[str, Any]:
    """Whose child a task is."""
    if found.parent is None:
        return {}
    return {"parent_id": found.parent, "root_id": found.ancestors[0], "place": found.place, "index": found.index}


def _waiting_for(waits: Sequence[answers.Waiting]) -> dict[str, Any]:
    return {"waiting_for": waits} if waits else {}


def _result(service: Service, found: Task) -> answers.Result | None:
    if not found.ended:
        return None
    return answers.Result(
        workflow_id=found.workflow_id,
        status=found.status,
        variables=dict(service.variables(found)),
        outputs=_outputs(service, found),
    )


def _outputs(service: Service, found: Task) -> Any:
    outputs = service.outputs(found)
    return {} if outputs is None and not found.part else outputs


def _outermost(service: Service, found: Task) -> tuple[float | None, str | None]:
    """What share of the outermost steps has ended, in percent (None with too many records), and which of them runs."""
    if found.part:
        return None, None
    names = {node.name for node in service.plan(found).steps.nodes}
    outermost: list[StepRecord] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = service.steps(found.task_id, PAGE, cursor)
        outermost += [record for record in page.items if record.path in names]
        cursor = page.next_cursor if len(outermost) < len(names) else None
        if cursor is None:
            break
    running = next((record.path for record in outermost if record.status is StepStatus.RUNNING), None)
    return None if cursor else 100.0 * sum(record.ended for record in outermost) / len(names), running


def _left(found: Task, percent: float | None, now: float) -> float:
    """Seconds to the end at the pace so far, 0 if that cannot be told."""
    if found.status is not Status.RUNNING or found.started_at is None or not percent:
        return 0.0
    return max(0.0, now - found.started_at) * (100.0 - percent) / percent


def _message(found: Task, ahead: int, waits: Sequence[answers.Waiting]) -> str:
    if found.status is Status.QUEUED:
        return f"queued; {ahead} {'task is' if ahead == 1 else 'tasks are'} ahead"
    if found.status is Status.PENDING and found.wake_at is not None:
        return f"it will start at {time(found.wake_at)}"
    if found.status is Status.WAITING:
        return wait_views.message(found, waits)
    return f"it is {found.status}"


def _maybe_time(seconds: float | None) -> str | None:
    return None if seconds is None else time(seconds)
