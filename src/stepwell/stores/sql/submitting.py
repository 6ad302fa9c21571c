"""Transactions that create tasks, and what a retry changes of what a task was created with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.ports import Revision
from stepwell.stores import submission
from stepwell.stores.sql import rows
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import NewTask, Task

_NEAR = 1000
"""So many places before the bound of a queue those who create tasks begin to take turns, lest they overstep it."""


def create_many(transaction: Transaction, new: Sequence[NewTask], max_queued: int | None) -> submission.Answers:
    """See `TaskStore.create_many`.

    Another who creates the same task in this moment makes the insert fail, and the transaction is run again.
    """
    now, by_id, by_key = _known(transaction, new)
    answers = submission.answers(new, by_id, by_key, now)
    asked = submission.asked_for(answers)
    if max_queued is not None:
        submission.check_room(asked, _waiting(transaction, asked, max_queued), max_queued)
    created = [(one, task) for one, (task, is_new) in zip(new, answers, strict=True) if is_new]
    # Whoever inserts what another is inserting waits for it: all do so in one order.
    created.sort(key=lambda pair: (pair[0].idempotency_key or "", pair[0].task_id))
    insert(transaction, created)
    return answers


def _known(transaction: Transaction, new: Sequence[NewTask]) -> tuple[float, Mapping[str, Task], Mapping[str, Task]]:
    sql = transaction.sql
    ids = [(sql.get_task, {"task_id": one.task_id}) for one in new]
    keys = [(sql.find_key, {"idempotency_key": key}) for one in new if (key := one.idempotency_key) is not None]
    now, found = transaction.session.look(*ids, *keys)
    tasks = [rows.read_task(row).task for answer in found for row in answer]
    by_key = {task.idempotency_key: task for task in tasks if task.idempotency_key is not None}
    return now, {task.task_id: task for task in tasks}, by_key


def _waiting(transaction: Transaction, asked: Mapping[str, int], max_queued: int) -> Mapping[str, int]:
    """Per queue how many tasks wait in it."""
    queues = sorted(asked)
    session, count, lock = transaction.session, transaction.sql.ledger.waiting, transaction.sql.ledger.lock_queue
    counts = [(count, {"queue": queue}) for queue in queues]
    _, found = session.look(*counts)
    if lock is not None and any(max_queued - int(row[0][0] or 0) < _NEAR for row in found):
        _, found = session.look(*((lock, {"queue": queue}) for queue in queues), *counts)
        found = found[len(queues) :]
    return {queue: int(row[0][0] or 0) for queue, row in zip(queues, found, strict=True)}


def insert(transaction: Transaction, created: Sequence[tuple[NewTask, Task]]) -> None:
    """Write new tasks, with all that belongs to them."""
    session, sql = transaction.session, transaction.sql
    definitions = {one.definition: one.definition_text for one, _ in created}
    texts = [{"definition": hash_, "text": text} for hash_, text in sorted(definitions.items())]
    session.do_many(sql.insert_definition, texts)
    transaction.insert_all([task for _, task in created])
    labels = [
        {"task_id": one.task_id, "name": name, "value": value}
        for one, _ in created
        for name, value in one.labels.items()
    ]
    session.do_many(sql.insert_label, labels)
    for one, task in created:
        if task.variables is not one.variables:
            transaction.put_value(task.task_id, "variables", one.variables)
        transaction.use_files(task.task_id, one.files)


def revise(transaction: Transaction, retried: Sequence[tuple[Task, Task, Revision]]) -> list[Task]:
    """Write what retries change of tasks, before and after them; answers the tasks as they are then."""
    session, sql = transaction.session, transaction.sql
    changes = [(before, submission.revised(after, revision), revision) for before, after, revision in retried]
    texts = {task.definition: text for _, task, revision in changes if (text := revision.definition_text) is not None}
    session.do_many(sql.insert_definition, [{"definition": hash_, "text": texts[hash_]} for hash_ in sorted(texts)])
    session.do_many(sql.revise_task, [rows.write_revision(task) for _, task, _ in changes])
    for _, task, revision in changes:
        _revise_values(transaction, task, revision)
    unused = {before.definition for before, task, _ in changes if before.definition != task.definition}
    session.do_many(sql.drop_definition, [{"definition": hash_} for hash_ in sorted(unused)])
    return [task for _, task, _ in changes]


def _revise_values(transaction: Transaction, task: Task, revision: Revision) -> None:
    if revision.variables is not None:
        transaction.session.do(transaction.sql.drop_value, {"task_id": task.task_id, "key": "variables"})
        if task.variables is not revision.variables:
            transaction.put_value(task.task_id, "variables", revision.variables)
    transaction.use_files(task.task_id, revision.files)
