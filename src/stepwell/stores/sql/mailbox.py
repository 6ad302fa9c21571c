"""Transactions on the mail of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from stepwell import lifecycle
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Mail, NewMail


def send(transaction: Transaction, task_id: str, new: NewMail) -> tuple[Mail, bool]:
    """See `TaskStore.send`."""
    now, row = transaction.lock(task_id)
    first = lifecycle.answered(row.task, new, _alike(transaction, task_id, new), now)
    if first is not None:
        return first, False
    if row.last_mail >= lifecycle.MAX_MAIL and _count(transaction, task_id) >= lifecycle.MAX_MAIL:
        raise lifecycle.full(row.task)
    return _put(transaction, row, new, now), True


def post(transaction: Transaction, task_id: str, new: NewMail) -> None:
    """Put a message into the mailbox of a task, whatever else is in it; the task is queued if it listens."""
    now, row = transaction.lock(task_id)
    _put(transaction, row, new, now)


def read(transaction: Transaction, task_id: str, after: int) -> list[Mail]:
    """See `TaskStore.mailbox`."""
    found = transaction.belongings(transaction.sql.waiting.mail_after, task_id, {"after": after})
    return [Mail(*row) for row in found]


def has_more(transaction: Transaction, row: TaskRow, seen: int) -> bool:
    """Whether the mailbox of a task holds a message after the first `seen` ones."""
    if row.last_mail <= seen:
        return False
    params = {"task_id": row.task.task_id, "after": seen}
    [[is_there]] = transaction.session.rows(transaction.sql.waiting.has_mail, params)
    return bool(is_there)


def _put(transaction: Transaction, row: TaskRow, new: NewMail, now: float) -> Mail:
    mail = Mail(row.last_mail + 1, new.name, new.payload, now, new.sender, new.key)
    transaction.session.do(transaction.sql.waiting.insert_mail, {"task_id": row.task.task_id, **asdict(mail)})
    row = replace(row, last_mail=mail.id)
    if lifecycle.listens(row.task):
        transaction.queue(row, now)
    else:
        transaction.save(row, row.task)
    return mail


def _alike(transaction: Transaction, task_id: str, new: NewMail) -> Sequence[Mail]:
    """The messages of which this one may be a repeat, oldest first."""
    sql = transaction.sql.waiting
    asked = []
    if new.key is not None:
        asked.append((sql.find_key, {"task_id": task_id, "key": new.key}))
    if new.once:
        asked.append((sql.first_named, {"task_id": task_id, "name": new.name}))
    _, found = transaction.session.look(*asked)
    return sorted((Mail(*row) for rows in found for row in rows), key=lambda mail: mail.id)


def _count(transaction: Transaction, task_id: str) -> int:
    [[number]] = transaction.session.rows(transaction.sql.waiting.count_mail, {"task_id": task_id})
    return int(number)
