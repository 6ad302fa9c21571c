"""The statements for what the SQL store keeps besides tasks: counters, paused queues, accounts, and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from stepwell.stores.sql.tables import audit, counters, endings, paused_queues, spending, tasks
from stepwell.task import Status

_QUEUE_LOCKS = 7_301_994_423

Insert = Callable[[sa.Table], Any]
"""The dialect's own insert, which knows `ON CONFLICT`."""


class LedgerStatements:
    """The texts; `text` compiles a statement."""

    lock_queue: str | None
    """Has those who create tasks in a queue take turns; None where all writers do."""

    def __init__(self, text: Callable[[sa.ClauseElement], str], insert: Insert, is_sqlite: bool) -> None:
        self._text, self._insert = text, insert
        self._compile_counters()
        self._compile_queues()
        self._compile_spending()
        self._compile_audit()
        turn = sa.func.hashtextextended(sa.bindparam("queue", type_=sa.Text), sa.literal_column(str(_QUEUE_LOCKS)))
        self.lock_queue = None if is_sqlite else self._text(sa.select(sa.func.pg_advisory_xact_lock(turn)))

    def _compile_counters(self) -> None:
        self.count = self._text(adding(self._insert(counters), counters, "queue", "name", "shard"))
        self.count_ending = self._text(adding(self._insert(endings), endings, "minute", "queue", "status", "shard"))
        total = sa.func.sum(counters.c.number)
        self.counts = self._text(
            sa.select(counters.c.queue, counters.c.name, total).group_by(counters.c.queue, counters.c.name)
        )
        waiting = counters.c.name.in_([sa.literal_column(f"'{name}'") for name in (Status.PENDING, Status.QUEUED)])
        self.waiting = self._text(sa.select(total).where(counters.c.queue == sa.bindparam("queue"), waiting))
        self.pace = self._text(
            sa.select(endings.c.queue, endings.c.status, sa.func.sum(endings.c.number))
            .where(endings.c.minute >= sa.bindparam("first"), endings.c.minute < sa.bindparam("this"))
            .group_by(endings.c.queue, endings.c.status)
        )
        self.drop_endings = self._text(sa.delete(endings).where(endings.c.minute < sa.bindparam("first")))

    def _compile_queues(self) -> None:
        queue = paused_queues.c.queue
        self.pause = self._text(self._insert(paused_queues).on_conflict_do_nothing())
        self.resume = self._text(sa.delete(paused_queues).where(queue == sa.bindparam("queue")))
        self.paused = self._text(sa.select(queue))
        self.is_paused = self._text(
            sa.select(queue).join(tasks, tasks.c.queue == queue).where(tasks.c.task_id == sa.bindparam("task_id"))
        )
        known = sa.select(counters.c.queue).distinct().subquery()
        oldest = (
            sa.select(sa.func.min(tasks.c.due))
            .where(tasks.c.queue == known.c.queue, tasks.c.status == sa.literal_column(f"'{Status.QUEUED}'"))
            .scalar_subquery()
        )
        self.oldest = self._text(sa.select(known.c.queue, oldest))

    def _compile_spending(self) -> None:
        new = self._insert(spending)
        goes_on = spending.c.begun >= new.excluded.begun
        total = new.excluded.spent + sa.case((goes_on, spending.c.spent), else_=sa.literal_column("0"))
        begun = sa.case((goes_on, spending.c.begun), else_=new.excluded.begun)
        self.spend = self._text(
            new.on_conflict_do_update(
                index_elements=["account", "period"],
                set_={"begun": begun, "spent": total},
                where=total <= sa.bindparam("limit", type_=sa.BigInteger),
            ).returning(spending.c.spent)
        )
        ended = spending.c.begun + spending.c.period < sa.bindparam("now", type_=sa.Double)
        self.drop_spending = self._text(sa.delete(spending).where(ended))

    def _compile_audit(self) -> None:
        self.note = self._text(sa.insert(audit).values(entry=sa.bindparam("entry")).returning(audit.c.id))
        self.trim_audit = self._text(sa.delete(audit).where(audit.c.id <= sa.bindparam("last")))
        self.audit = self._text(
            sa.select(audit.c.id, audit.c.entry)
            .where(audit.c.id < sa.bindparam("before", type_=sa.BigInteger))
            .order_by(audit.c.id.desc())
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .offset(sa.literal_column("0"))
        )


def adding(new: Any, table: sa.Table, *key: str) -> Any:
    """Add to the number of a row, which is made if it is not there."""
    return new.on_conflict_do_update(index_elements=list(key), set_={"number": table.c.number + new.excluded.number})
