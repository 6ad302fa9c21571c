"""What creating tasks answers: which of them are there already, and whether there is room for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stepwell import lifecycle
from stepwell.errors import QueueFull
from stepwell.ports import Revision
from stepwell.stores import records
from stepwell.task import NewTask, Task

Answers = list[tuple[Task, bool]]
"""Per request its task, and whether it is new."""


def answers(new: Sequence[NewTask], by_id: Mapping[str, Task], by_key: Mapping[str, Task], now: float) -> Answers:
    """What creating these answers, given the tasks that are there; a request may repeat one before it.

    Raises `Conflict` if one uses the idempotency key of another request.
    """
    ids, keys = dict(by_id), dict(by_key)
    answered = []
    for one in new:
        first = _first(one, ids, keys)
        task = made(one, now) if first is None else first
        ids[one.task_id] = task
        if one.idempotency_key is not None:
            keys.setdefault(one.idempotency_key, task)
        answered.append((task, first is None))
    return answered


def asked_for(answered: Answers) -> Mapping[str, int]:
    """Per queue how many of the tasks are new."""
    return Counter(task.queue for task, is_new in answered if is_new)


def check_room(asked: Mapping[str, int], waiting: Mapping[str, int], max_queued: int | None) -> None:
    """Raise `QueueFull` if the new tasks and those that wait in their queue already are more than `max_queued`."""
    for queue, count in asked.items():
        if max_queued is not None and waiting.get(queue, 0) + count > max_queued:
            raise QueueFull(f"queue {queue!r} has room for {max_queued} tasks, and is full: try again later")


def made(new: NewTask, now: float, held: bool = False) -> Task:
    """The task that a caller asked for, with large variables set apart."""
    kept = records.set_apart(new.variables)
    task = lifecycle.created(new, now, held)
    return task if kept is None else replace(task, variables=kept)


def revised(task: Task, revision: Revision) -> Task:
    """The task as a retry changes it, with large variables set apart."""
    kept = records.set_apart(revision.variables)
    return replace(
        task,
        variables=task.variables if kept is None else kept,
        definition=revision.definition or task.definition,
        undo=task.undo if revision.undo is None else revision.undo,
    )


def revision_of(new: NewTask) -> Revision:
    """What a new round changes of a child that it begins again."""
    return Revision(new.variables, new.definition, new.definition_text, new.undo, new.files)


def _first(new: NewTask, by_id: Mapping[str, Task], by_key: Mapping[str, Task]) -> Task | None:
    first = by_id.get(new.task_id)
    if first is None and new.idempotency_key is not None:
        first = by_key.get(new.idempotency_key)
        if first is not None:
            lifecycle.same_request(first, new)
    return first
