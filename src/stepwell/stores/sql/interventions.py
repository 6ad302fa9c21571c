"""Transactions that people ask for: to cancel a task, to retry it, to discard it."""

from __future__ import annotations

from collections.abc import Iterable

from stepwell import lifecycle
from stepwell.stores import records
from stepwell.stores.sql import rows
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Task


def cancel(transaction: Transaction, task_id: str, force: bool) -> Task:
    """See `TaskStore.cancel`."""
    now, row = transaction.lock(task_id)
    return transaction.save(row, lifecycle.cancelled(row.task, now, force))


def retry(transaction: Transaction, task_id: str, reset: Iterable[str], attempt: int) -> Task:
    """See `TaskStore.retry`."""
    session, sql, paths = transaction.session, transaction.sql, list(reset)
    now, row = transaction.lock(task_id)
    records.same_attempt(row.task, attempt)
    after = lifecycle.retried(row.task, now)
    _, found = session.look(*((sql.get_step, {"task_id": task_id, "path": path}) for path in paths))
    transaction.put_steps(task_id, [lifecycle.reset(rows.read_step(step)) for steps in found for step in steps])
    keys = ["outputs", *map(records.output_key, paths)]
    session.do_many(sql.drop_value, [{"task_id": task_id, "key": key} for key in keys])
    return transaction.save(row, after)


def discard(transaction: Transaction, task_id: str) -> Task:
    """See `TaskStore.discard`."""
    now, row = transaction.lock(task_id)
    return transaction.save(row, lifecycle.discarded(row.task, now))
