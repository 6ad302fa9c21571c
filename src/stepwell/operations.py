"""Everything that an operator can ask: statistics, dead letters, workers, and to pause, resume and clear queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from stepwell.errors import Conflict, FieldProblem, InvalidInput, NotFound, Unavailable, did_you_mean
from stepwell.lifecycle import QUEUED_BY_PRIORITY
from stepwell.ports import Queue, TaskFilter, TaskStore, WorkerView
from stepwell.task import AuditEntry, Page, Status, Task
from stepwell.workflow import PRIORITIES

BATCH = 200
"""So many tasks are read at a time where all of a queue are changed."""

PACE_SECONDS = 300.0

LEVELS = {level: name for name, level in PRIORITIES.items()}


class Operations:
    """The operators' side of store and queue."""

    def __init__(
        self,
        store: TaskStore,
        queue: Queue,
        *,
        enabled: bool,
        queues: Sequence[str],
        requeue: Callable[[Task], Task],
        cancel: Callable[[str], Task],
    ) -> None:
        """`enabled`: tasks go to workers. `queues` are those of the settings; `requeue`, `cancel` are a service's."""
        self._store, self._queue = store, queue
        self._enabled, self._queues = enabled, tuple(queues)
        self._requeue, self._cancel = requeue, cancel

    # -- to read -----------------------------------------------------------------------------------------------------

    def stats(self) -> Mapping[str, Any]:
        """Counts of all queues and of those who work them off, by the names of the API."""
        counts, ages, pace = self._store.counts(), self._store.ages(), self._store.pace()
        paused, known = self._store.paused(), {**dict.fromkeys(self._queues), **dict.fromkeys(counts)}
        totals = {ending: _total(counts, f"{ending}_total") for ending in ("completed", "failed", "cancelled")}
        return {
            "enabled": self._enabled,
            "queues": {
                name: {
                    **_queue_stats(counts.get(name, {})),
                    "oldest_seconds": ages.get(name),
                    "paused": name in paused,
                    **_pace_stats(pace.get(name, {})),
                }
                for name in known
            },
            "total_processed": sum(totals.values()),
            "total_success": totals["completed"],
            "total_failed": totals["failed"],
            "total_timeout": _total(counts, "timeout_total"),
            "total_retried": _total(counts, "retried_total"),
            "total_published": _total(counts, "created_total"),
            "dead_letters": _total(counts, "dead"),
            **self._queue.stats(),
        }

    def workers(self) -> Sequence[WorkerView]:
        """The workers that are alive."""
        return self._queue.workers()

    def dead_letters(self, queue: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """A page of the tasks that have failed for good, newest first."""
        return self._store.list(TaskFilter(queue=queue, dead=True), limit, cursor)

    def audit(self, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """A page of the audit log, newest first."""
        return self._store.audit(limit, cursor)

    # -- to act ------------------------------------------------------------------------------------------------------

    def requeue(self, queue: str | None, task_ids: Sequence[str] | None = None) -> int:
        """Retry these dead letters, or all of a queue (all there are, without one); answers how many. Of two who do
        that at once one does it. Raises `Conflict`, and does nothing, if one of these is no dead letter."""
        return self._each_dead(queue, task_ids, self._requeue)

    def discard(self, queue: str | None, task_ids: Sequence[str] | None = None) -> int:
        """As `requeue`, but take them out of the dead letters; their records stay."""
        return self._each_dead(queue, task_ids, lambda dead: self._store.discard(dead.task_id))

    def pause(self, queue: str) -> None:
        """Let no task of a queue start. Raises `InvalidInput` for an unknown queue."""
        self._store.pause(self._known(queue))

    def resume(self, queue: str) -> None:
        """Let tasks of a queue start again, at once, or if nobody can be rung for now, soon."""
        self._store.resume(self._known(queue))
        with suppress(Unavailable):
            for priority in LEVELS:
                self._queue.ring_again(self._store.queued(0.0, (queue, priority)))

    def clear(self, queue: str) -> int:
        """Cancel every task that is queued in a queue now, child tasks too; answers how many.

        Raises `Unavailable` if the store goes away meanwhile: then some are cancelled, and a repeat goes on.
        """
        only, cleared, cursor = TaskFilter(status=Status.QUEUED, queue=self._known(queue)), 0, None
        while True:
            page = self._store.list(only, BATCH, cursor)
            cleared += sum(self._cleared(task.task_id) for task in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return cleared + sum(self._cleared_children(queue, priority) for priority in LEVELS)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _each_dead(self, queue: str | None, task_ids: Sequence[str] | None, act: Callable[[Task], Task]) -> int:
        if task_ids is not None:
            return sum(_done(act, dead) for dead in [self._dead(task_id) for task_id in dict.fromkeys(task_ids)])
        done, cursor = 0, None
        while True:
            page = self.dead_letters(queue, BATCH, cursor)
            done += sum(_done(act, dead) for dead in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return done

    def _dead(self, task_id: str) -> Task:
        task = self._store.get(task_id)
        if not task.dead:
            raise Conflict(f"task {task_id} is {task.status}, and not in the dead letters", status=task.status)
        return task

    def _cleared(self, task_id: str) -> bool:
        try:
            return self._cancel(task_id).status is Status.CANCELLED
        except (Conflict, NotFound):  # it has just begun to run, or is gone
            return False

    def _cleared_children(self, queue: str, priority: int) -> int:
        """Lists show no children. Each that is cancelled makes room for the next of its crew: until none is left."""
        cleared, last = 0, 1
        while last:
            queued = [task for task in self._store.queued(0.0, (queue, priority)) if task.ancestors]
            last = sum(self._cleared(task.task_id) for task in queued)
            cleared += last
        return cleared

    def _known(self, queue: str) -> str:
        known = {*self._queues, *self._store.counts()}
        if queue in known:
            return queue
        message = f"unknown queue {queue!r}{did_you_mean(queue, known)}: QUEUES lists those that are served"
        raise InvalidInput([FieldProblem("queue", message)])


def _done(act: Callable[[Task], Task], dead: Task) -> bool:
    try:
        act(dead)
    except (Conflict, NotFound):  # somebody else was quicker, or it is gone
        return False
    return True


def _total(counts: Mapping[str, Mapping[str, int]], name: str) -> int:
    return sum(numbers.get(name, 0) for numbers in counts.values())


def _queue_stats(counts: Mapping[str, int]) -> dict[str, Any]:
    by_priority = {LEVELS[level]: counts.get(name, 0) for level, name in enumerate(QUEUED_BY_PRIORITY)}
    endings = ("created", "completed", "failed", "timeout", "cancelled", "retried")
    return {
        "queue_length": counts.get("queued", 0),
        "running": counts.get("running", 0),
        "delayed": counts.get("pending", 0),
        "waiting": counts.get("waiting", 0),
        "dead_letters": counts.get("dead", 0),
        "by_priority": by_priority,
        **{f"total_{ending}": counts.get(f"{ending}_total", 0) for ending in endings},
    }


def _pace_stats(ended: Mapping[str, int]) -> dict[str, Any]:
    """How many tasks ended a minute lately, and which share of them failed (null if none ended)."""
    total = sum(ended.values())
    return {
        "ended_per_minute": total * 60.0 / PACE_SECONDS,
        "failure_rate": ended.get("failed", 0) / total if total else None,
    }
