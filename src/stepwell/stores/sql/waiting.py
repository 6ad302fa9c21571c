"""The transaction that suspends a task until something comes for it."""

from __future__ import annotations

from stepwell import lifecycle
from stepwell.ports import Commit, Suspension
from stepwell.stores.sql import claiming, mailbox, publishing
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Status, Task


def suspend(transaction: Transaction, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
    """See `TaskStore.suspend`."""

    def wait(row: TaskRow, now: float, ran: float) -> Task:
        has_come = mailbox.has_more(transaction, row, suspension.mail) or publishing.has_missed(transaction, suspension)
        task = lifecycle.suspended(row.task, now, ran, suspension.due, has_come, commit.undoing)
        if task.status is not Status.WAITING:
            transaction.to_ring.append(task)
        elif suspension.topics:
            publishing.listen(transaction, task_id, suspension)
        return task

    return claiming.end(transaction, "suspend", task_id, token, commit, wait)
