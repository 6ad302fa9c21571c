"""Transactions that no caller asks for: lost workers, tasks whose time has come, and old tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from stepwell import lifecycle
from stepwell.ports import Purged
from stepwell.stores.sql import crews, ledger, rows
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Status, Task

BATCH = 1000
"""How many tasks one call of `reap`, `wake` or `queued` answers at most."""


def reap(transaction: Transaction, grace: bool) -> list[Task]:
    """See `TaskStore.reap`."""
    session, sql = transaction.session, transaction.sql
    now = session.now()
    params = {"latest": now, "until": now + transaction.lease_seconds}
    session.do(sql.clamp_leases, params)
    ledger.forget_periods(transaction, now)
    if grace:
        session.do(sql.give_grace, params)
        return []
    return _take(transaction, transaction.batch(sql.lock_lost, now, BATCH), now, lifecycle.lost)


def lose(transaction: Transaction, worker: str, crashed: bool) -> list[Task]:
    """See `TaskStore.lose`."""
    now, [found] = transaction.session.look((transaction.sql.lock_theirs, {"worker": worker}))
    become = lifecycle.lost if crashed else lifecycle.handed_back
    return _take(transaction, [rows.read_task(row) for row in found], now, become)


def wake(transaction: Transaction) -> list[Task]:
    """See `TaskStore.wake`."""
    now = transaction.session.now()
    due = transaction.batch(transaction.sql.lock_due, now, BATCH)
    return transaction.save_all([(row, replace(row, task=lifecycle.woken(row.task, now))) for row in due])


def due_in(transaction: Transaction) -> float | None:
    """See `TaskStore.due_in`."""
    now, [[[due]]] = transaction.session.look((transaction.sql.next_due, {}))
    return None if due is None else max(0.0, due - now)


def queued(transaction: Transaction, older_than: float, line: tuple[str, int] | None) -> list[Task]:
    """See `TaskStore.queued`."""
    latest = transaction.session.now() - older_than
    if line is None:
        return [row.task for row in transaction.batch(transaction.sql.queued, latest, BATCH)]
    params = {"latest": latest, "limit": BATCH, "queue": line[0], "priority": line[1]}
    return [rows.read_task(row).task for row in transaction.session.rows(transaction.sql.queued_in_line, params)]


def purge(transaction: Transaction, older_than: float, limit: int) -> Purged:
    """See `TaskStore.purge`."""
    session, sql = transaction.session, transaction.sql
    latest = session.now() - older_than
    ended = _families(transaction, transaction.batch(sql.lock_ended_roots, latest, limit), limit)
    transaction.listen_no_more([task.task_id for task in ended if task.status is Status.WAITING])
    gone = [{"task_id": task.task_id} for task in ended]
    _, dropped = session.look(*((sql.drop_file_uses, one) for one in gone))
    for forget in sql.forget:
        session.do_many(forget, gone)
    hashes = sorted({task.definition for task in ended})
    session.do_many(sql.drop_definition, [{"definition": hash_} for hash_ in hashes])
    files = unused(transaction, sorted({sha256 for uses in dropped for (sha256,) in uses}))
    transaction.moved.extend((task, None) for task in ended)
    return Purged(len(ended), files)


def unused(transaction: Transaction, sha256s: Iterable[str]) -> list[str]:
    """See `TaskStore.unused`."""
    wanted = list(sha256s)
    _, found = transaction.session.look(*((transaction.sql.is_unused, {"sha256": sha256}) for sha256 in wanted))
    return [sha256 for sha256, [[is_unused]] in zip(wanted, found, strict=True) if is_unused]


def _families(transaction: Transaction, roots: Sequence[TaskRow], limit: int) -> list[Task]:
    """Up to so many tasks: roots, and before them all that descend from them."""
    if not roots:
        return []
    waiting = transaction.sql.waiting
    ids = waiting.ids([row.task.task_id for row in roots])
    found = transaction.session.rows(waiting.lock_of_roots, {**ids, "limit": limit})
    children = [rows.read_task(row).task for row in found]
    return [*children, *(row.task for row in roots[: limit - len(children)])]


def _take(
    transaction: Transaction, lost: Iterable[TaskRow], now: float, become: Callable[[Task, float, float], Task]
) -> list[Task]:
    """Take running tasks from their workers: they ran until now, or until their lease was over."""
    changes: list[tuple[TaskRow, TaskRow]] = []
    for row in lost:
        ran = min(now, row.due or now) - (row.claimed_at or now)
        changes.append((row, replace(row, task=become(row.task, now, ran), token=None)))
    return crews.save_all(transaction, crews.without_busy_parents(transaction, changes))
