"""Transactions that people ask for: to cancel a task, to retry it, to discard it."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell import lifecycle
from stepwell.ports import Revision
from stepwell.stores import records
from stepwell.stores.sql import crews, rows, submitting
from stepwell.stores.sql.transaction import Transaction, found_task
from stepwell.task import Task


def cancel(transaction: Transaction, task_id: str, force: bool) -> Task:
    """See `TaskStore.cancel`."""
    one = {"task_id": task_id}
    now, [_, found] = transaction.session.look(
        (transaction.sql.waiting.lock_parent, one), (transaction.sql.lock_task, one)
    )
    row = found_task(found, task_id)
    return crews.save(transaction, row, lifecycle.cancelled(row.task, now, force))


def retry(
    transaction: Transaction, task_id: str, reset: Sequence[str], attempt: int, revision: Revision | None
) -> Task:
    """See `TaskStore.retry`."""
    session, sql = transaction.session, transaction.sql
    now, row = transaction.lock(task_id)
    records.same_attempt(row.task, attempt)
    after = lifecycle.retried(row.task, now)
    _, found = session.look(*((sql.get_step, {"task_id": task_id, "path": path}) for path in reset))
    transaction.reset(task_id, reset, [rows.read_step(step) for steps in found for step in steps])
    if revision is not None:
        [after] = submitting.revise(transaction, [(row.task, after, revision)])
    return transaction.save(row, after)


def discard(transaction: Transaction, task_id: str) -> Task:
    """See `TaskStore.discard`."""
    now, row = transaction.lock(task_id)
    return transaction.save(row, lifecycle.discarded(row.task, now))
