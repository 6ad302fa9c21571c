"""Transactions that people ask for: to cancel a task, to retry it, to discard it."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell import lifecycle
from stepwell.ports import Revision
from stepwell.stores import records, submission
from stepwell.stores.sql import crews, rows
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
        after = _revise(transaction, row.task, after, revision)
    return transaction.save(row, after)


def _revise(transaction: Transaction, before: Task, after: Task, revision: Revision) -> Task:
    session, sql, task_id = transaction.session, transaction.sql, after.task_id
    revised = submission.revised(after, revision)
    if revision.definition_text is not None:
        session.do(sql.insert_definition, {"definition": revised.definition, "text": revision.definition_text})
    session.do(sql.revise_task, rows.write_revision(revised))
    if revision.variables is not None:
        session.do(sql.drop_value, {"task_id": task_id, "key": "variables"})
        if revised.variables is not revision.variables:
            transaction.put_value(task_id, "variables", revision.variables)
    if revised.definition != before.definition:
        session.do(sql.drop_definition, {"definition": before.definition})
    transaction.use_files(task_id, revision.files)
    return revised


def discard(transaction: Transaction, task_id: str) -> Task:
    """See `TaskStore.discard`."""
    now, row = transaction.lock(task_id)
    return transaction.save(row, lifecycle.discarded(row.task, now))
