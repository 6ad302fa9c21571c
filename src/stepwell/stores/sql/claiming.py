"""Transactions of those who hold a claim, or want one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stepwell import lifecycle
from stepwell.errors import ClaimLost
from stepwell.ports import Claim, Commit, Lease, Receipt
from stepwell.stores import records
from stepwell.stores.sql import crews, rows
from stepwell.stores.sql.database import Row
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.transaction import Transaction, found_task
from stepwell.task import FORMAT, Mail, Status, Task

Ending = Callable[[TaskRow, float, float], Task]
"""What becomes of a task whose claim ends, from the time and the seconds it ran."""


def claim(transaction: Transaction, task_id: str, token: str, worker: str) -> Claim | None:
    """See `TaskStore.claim`."""
    sql, one = transaction.sql, {"task_id": task_id}
    asked = (sql.lock_task, sql.ledger.is_paused, sql.waiting.is_disowned, sql.all_steps, sql.definition_of)
    mailbox = (sql.waiting.mail_after, {**one, "after": 0})
    now, answers = transaction.session.look(*((statement, one) for statement in asked), mailbox)
    found, paused, disowned, steps, text, mail = answers
    if not found:
        return None
    row = rows.read_task(found[0])
    if row.token != token:
        queued = row.task.status is Status.QUEUED and not paused
        if not queued or row.task.format > FORMAT or row.was_released_by(token):
            return None
        row = replace(row, token=token, claimed_at=now)
        task = replace(row.task, cancel_requested=row.task.cancel_requested or bool(disowned[0][0]))
        row = replace(row, task=transaction.save(row, lifecycle.started(task, now, worker)))
    kept = [rows.read_step(step) for step in steps]
    return Claim(row.task, token, str(text[0][0]), kept, row.claimed_at or 0.0, [Mail(*one) for one in mail])


def commit(transaction: Transaction, task_id: str, token: str, commit: Commit) -> Receipt:
    """See `TaskStore.commit`."""
    found = transaction.session.rows(transaction.sql.commit, _commit_params(transaction, task_id, token, commit))
    if not found:
        transaction.get(task_id)
    return _record(transaction, task_id, found, commit)


def end(transaction: Transaction, call: str, task_id: str, token: str, commit: Commit, ending: Ending) -> Task:
    """Commit, and give up the claim; a repeat of the same call changes nothing."""
    ended_by, one = f"{call}:{token}", {"task_id": task_id}
    _, [_, locked, committed, found] = transaction.session.look(
        (transaction.sql.waiting.lock_parent, one),
        (transaction.sql.lock_task, one),
        (transaction.sql.commit, _commit_params(transaction, task_id, token, commit)),
        (transaction.sql.get_task, one),
    )
    before = found_task(locked, task_id)
    if before.released == ended_by and before.token != token:
        return before.task
    receipt = _record(transaction, task_id, committed, commit)
    row, now = rows.read_task(found[0]), receipt.now
    if receipt.cancelled and not row.task.cancel_requested:
        row = transaction.get(task_id)  # it was only now seen to be disowned
    task = ending(row, now, now - (row.claimed_at or now))
    return crews.save(transaction, replace(row, token=None, released=ended_by), task)


def renew(transaction: Transaction, claims: Mapping[str, str]) -> dict[str, Lease]:
    """See `TaskStore.renew`."""
    common = {"lease": transaction.lease_seconds, **transaction.session.time_params()}
    ids = sorted(claims)
    asked = ((transaction.sql.renew, {"task_id": id_, "token": claims[id_], **common}) for id_ in ids)
    _, found = transaction.session.look(*asked)
    return {id_: Lease(bool(row), bool(row) and any(row[0])) for id_, row in zip(ids, found, strict=True)}


def _commit_params(transaction: Transaction, task_id: str, token: str, commit: Commit) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "token": token,
        "keep_crashes": int(not any(record.ended for record in commit.steps)),
        "progress": None if commit.progress is None else records.to_json(commit.progress),
        "events": len(commit.steps) + len(commit.events),
        **transaction.session.time_params(),
    }


def _record(transaction: Transaction, task_id: str, committed: list[Row], commit: Commit) -> Receipt:
    """Write the records and events of a commit that was let in; raises `ClaimLost` if it was not."""
    if not committed:
        raise ClaimLost(f"another worker holds task {task_id} now, or none")
    now, cancelled, disowned, last_event = committed[0]
    steps = lifecycle.allowed(commit.steps, bool(cancelled or disowned), commit.undoing)
    changed = transaction.put_steps(task_id, steps)
    told = [event for step in steps if step.path in changed and (event := lifecycle.step_event(step)) is not None]
    if changed or not commit.steps:
        told.extend(commit.events)
    first = last_event - len(commit.steps) - len(commit.events) + 1
    transaction.session.do_many(transaction.sql.insert_event, rows.write_events(task_id, first, now, told))
    if disowned and not cancelled:
        row = transaction.get(task_id)
        transaction.save(row, replace(row.task, cancel_requested=True, updated_at=now))
    return Receipt(now, bool(cancelled or disowned))
