"""Transactions on children: making them, cancelling them, and what the end of one does to its siblings and parent.

Whoever changes a crew, or ends a child, has locked the row of the parent before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from stepwell import lifecycle
from stepwell.errors import ClaimLost, NotFound
from stepwell.stores import submission
from stepwell.stores.sql import mailbox, rows, submitting
from stepwell.stores.sql.database import Row
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.transaction import Transaction, found_task
from stepwell.task import Crew, NewMail, NewTask, Status, Task

BATCH = 1000
"""How many children one call cancels at most."""

Moved = tuple[TaskRow, TaskRow]
"""A task before and after."""


@dataclass(slots=True)
class _Kept:
    """A crew as it is written back. `told` is the last round of which the parent knows that it is over."""

    parent: str
    path: str
    crew: Crew
    told: int = 0


def spawn(
    transaction: Transaction, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]
) -> Crew:
    """See `TaskStore.spawn`."""
    sql, one = transaction.sql.waiting, {"task_id": task_id}
    now, [locked, disowned, found, there] = transaction.session.look(
        (transaction.sql.lock_task, one),
        (sql.is_disowned, one),
        (sql.get_crew, {**one, "path": path}),
        (sql.get_several, sql.ids([child.task_id for child in children])),
    )
    parent = found_task(locked, task_id)
    if parent.token != token:
        raise ClaimLost(f"another worker holds task {task_id} now, or none")
    kept = _read(task_id, path, found[0]) if found else _Kept(task_id, path, lifecycle.recrewed(None, crew))
    kept.crew = lifecycle.recrewed(kept.crew, crew)
    _fill(transaction, kept, now)
    cancelled = parent.task.cancel_requested or bool(disowned[0][0])
    wanted = [child for child in children if child.undoing or not cancelled]
    _join(transaction, kept, wanted, {row.task.task_id: row for row in map(rows.read_task, there)}, now)
    _settle(transaction, kept)
    return kept.crew


def get(transaction: Transaction, task_id: str, path: str) -> Crew:
    """See `TaskStore.crew`."""
    found = transaction.belongings(transaction.sql.waiting.get_crew, task_id, {"path": path})
    if not found:
        raise NotFound("crew", path)
    return _read(task_id, path, found[0]).crew


def cancel_children(transaction: Transaction, task_id: str, path: str | None) -> list[Task]:
    """See `TaskStore.cancel_children`."""
    sql, one = transaction.sql.waiting, {"task_id": task_id}
    statement = sql.lock_children if path is None else sql.lock_crew
    now, [locked, found, children] = transaction.session.look(
        (transaction.sql.lock_task, one),
        (sql.crews_of, one),
        (statement, {"parent": task_id, "place": path, "limit": BATCH}),
    )
    found_task(locked, task_id)
    before = {place: _read(task_id, place, columns) for place, *columns in found if path in (None, place)}
    crews = {place: replace(kept, crew=replace(kept.crew, closed=True)) for place, kept in before.items()}
    changes = []
    for row in map(rows.read_task, children):
        after = lifecycle.cancelled(row.task, now, force=True)
        changes.append((row, replace(row, task=after)))
        if after.ended and after.place in crews:
            kept = crews[after.place]
            kept.crew = lifecycle.left(kept.crew, row.task, after)
    tasks = transaction.save_all(changes)
    transaction.to_ring.extend(after.task for before, after in changes if _is_queued(before.task, after.task))
    for place, kept in crews.items():
        if kept != before[place]:
            _settle(transaction, kept)
    return tasks


def save(transaction: Transaction, row: TaskRow, after: Task) -> Task:
    """As `Transaction.save`, for a task that may be a child, and may have ended."""
    return save_all(transaction, [(row, replace(row, task=after))])[0]


def save_all(transaction: Transaction, changes: Sequence[Moved]) -> list[Task]:
    """As `Transaction.save_all`, for tasks that may be children, and may have ended."""
    saved = transaction.save_all(changes)
    ended = sorted((change for change in changes if _has_left(change)), key=_crew_of)
    for (parent, place), group in groupby(ended, key=_crew_of):
        _leave(transaction, parent, place, group, saved[0].updated_at)
    return saved


def without_busy_parents(transaction: Transaction, changes: Sequence[Moved]) -> list[Moved]:
    """Leave out those that end and whose parent somebody else is at: here the child is locked already, and who waits
    for its parent then might wait for ever. It is found again in the next round."""
    parents = {str(after.task.parent) for before, after in changes if _has_left((before, after))}
    if not parents:
        return list(changes)
    waiting = transaction.sql.waiting
    free = {task_id for (task_id,) in transaction.session.rows(waiting.lock_free, waiting.ids(parents))}
    return [change for change in changes if not _has_left(change) or change[1].task.parent in free]


def _is_queued(before: Task, after: Task) -> bool:
    return after.status is Status.QUEUED and before.status is not Status.QUEUED


def _has_left(change: Moved) -> bool:
    before, after = change
    return after.task.ended and not before.task.ended and after.task.place is not None and bool(after.task.ancestors)


def _crew_of(change: Moved) -> tuple[str, str]:
    task = change[1].task
    return str(task.parent), str(task.place)


def _leave(transaction: Transaction, parent: str, path: str, ended: Iterable[Moved], now: float) -> None:
    """Children have ended: others have their places, or the crew is over."""
    found = transaction.session.rows(transaction.sql.waiting.get_crew, {"task_id": parent, "path": path})
    if not found:
        return
    kept = _read(parent, path, found[0])
    for before, after in ended:
        kept.crew = lifecycle.left(kept.crew, before.task, after.task)
    _fill(transaction, kept, now)
    _settle(transaction, kept)


def _fill(transaction: Transaction, kept: _Kept, now: float) -> None:
    """Queue held children while there are places."""
    if not lifecycle.has_place(kept.crew):
        return
    places = {"parent": kept.parent, "place": kept.path, "limit": kept.crew.at_once - kept.crew.active}
    found = transaction.session.rows(transaction.sql.waiting.lock_held, places)
    held = [rows.read_task(row) for row in found]
    for _ in held:
        kept.crew = lifecycle.joined(kept.crew)
    woken = [(row, replace(row, task=lifecycle.woken(row.task, now))) for row in held]
    transaction.to_ring.extend(transaction.save_all(woken))


def _join(
    transaction: Transaction, kept: _Kept, children: Sequence[NewTask], there: dict[str, TaskRow], now: float
) -> None:
    """Make children, or retry them in a new round: queued while there are places for them, then held."""
    created: dict[str, tuple[NewTask, Task]] = {}
    again: list[tuple[TaskRow, Task, NewTask]] = []
    for new in children if not kept.crew.closed else ():
        held, row = not lifecycle.has_place(kept.crew), there.get(new.task_id)
        if row is None and new.task_id not in created:
            task = submission.made(new, now, held)
            created[new.task_id] = (new, task)
        elif row is not None and lifecycle.begins_again(row.task, new):
            task = lifecycle.retried(row.task, now, new.attempt, held)
            again.append((row, task, new))
        else:
            continue
        if not held:
            kept.crew = lifecycle.joined(kept.crew)
            transaction.to_ring.append(task)
    submitting.insert(transaction, list(created.values()))
    _begin_afresh(transaction, again)


def _begin_afresh(transaction: Transaction, again: Sequence[tuple[TaskRow, Task, NewTask]]) -> None:
    """Reset what failed of children that are retried, and give them what they are given now."""
    task_ids = [task.task_id for _, task, _ in again]
    _, found = transaction.session.look(*((transaction.sql.all_steps, {"task_id": id_}) for id_ in task_ids))
    for task_id, steps in zip(task_ids, found, strict=True):
        records = [rows.read_step(step) for step in steps]
        transaction.reset(task_id, lifecycle.to_reset(records), records)
    revised = submitting.revise(
        transaction, [(row.task, task, submission.revision_of(new)) for row, task, new in again]
    )
    transaction.save_all([(row, replace(row, task=task)) for (row, _, _), task in zip(again, revised, strict=True)])


def _settle(transaction: Transaction, kept: _Kept) -> None:
    """Keep what a crew has become, and tell its parent, once for each round, that it is over."""
    is_news = kept.crew.over and kept.told < kept.crew.round
    told = kept.crew.round if is_news else kept.told
    row = rows.write_crew(kept.parent, kept.path, kept.crew, told)
    transaction.session.do(transaction.sql.waiting.put_crew, row)
    if is_news:
        mailbox.post(transaction, kept.parent, NewMail(lifecycle.crew_mail(kept.path), str(kept.crew.round)))


def _read(parent: str, path: str, row: Row) -> _Kept:
    told, *columns = row
    return _Kept(parent, path, rows.read_crew(columns), told)
