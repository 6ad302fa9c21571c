"""Every fixed statement of the SQL store, built with Core and compiled to the database's text once."""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg

from stepwell.stores.sql.ledger_statements import LedgerStatements
from stepwell.stores.sql.publishing_statements import PublishingStatements
from stepwell.stores.sql.tables import definitions, events, file_uses, labels, large_values, steps, tasks
from stepwell.stores.sql.waiting_statements import WaitingStatements, disowned
from stepwell.stores.sql.waiting_tables import BELONGINGS
from stepwell.task import Status

CHUNKS = (100, 10, 2, 1)
"""How many step records one statement writes; a commit of any size is a sum of these."""

_CHANGING = (
    "status",
    "updated_at",
    "started_at",
    "completed_at",
    "due",
    "ran_for",
    "attempt",
    "retry_count",
    "crashes",
    "cancel_requested",
    "worker",
    "outputs",
    "outputs_size",
    "error",
    "progress",
    "token",
    "released",
    "claimed_at",
    "last_event",
    "dead",
    "last_mail",
)
_STEP_COLUMNS = (steps.c.path, steps.c.position, steps.c.status, steps.c.record, steps.c.output, steps.c.output_size)
_EVENT_COLUMNS = (events.c.id, events.c.task_id, events.c.at, events.c.kind, events.c.path, events.c.data)


_NONE: sa.ColumnElement[int] = sa.literal_column("0")  # SQLite's dialect would bind an offset of its own


class Statements:
    """The texts. `server_time` takes the time of a commit from the database rather than from parameter `now`."""

    def __init__(self, is_sqlite: bool, server_time: bool) -> None:
        self._dialect = sqlite.dialect(paramstyle="named") if is_sqlite else psycopg.dialect()  # type: ignore[no-untyped-call]
        self._insert = sqlite.insert if is_sqlite else postgresql.insert
        clock = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
        self._now = clock if server_time else sa.bindparam("now", type_=sa.Double)
        self._disowned = disowned(is_sqlite)
        self.upsert_steps = lru_cache(self._upsert_steps)
        self._compile_tasks()
        self._compile_batches()
        self._compile_belongings()
        self.ledger = LedgerStatements(self.text, self._insert, is_sqlite)
        self.waiting = WaitingStatements(self.text, self._insert, is_sqlite)
        self.publishing = PublishingStatements(self.text, self._insert, is_sqlite)

    def text(self, statement: sa.ClauseElement) -> str:
        """A Core statement in the database's language; its parameters keep their names."""
        return str(statement.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True}))

    def _compile_tasks(self) -> None:
        one = tasks.c.task_id == sa.bindparam("task_id")
        self.get_task = self.text(sa.select(tasks).where(one))
        self.lock_task = self.text(sa.select(tasks).where(one).with_for_update())
        self.find_key = self.text(sa.select(tasks).where(tasks.c.idempotency_key == sa.bindparam("idempotency_key")))
        self.insert_task = self.text(sa.insert(tasks))
        changes: dict[str, sa.BindParameter[object]] = {name: sa.bindparam(name) for name in _CHANGING}
        self.save_task = self.text(sa.update(tasks).where(one).values(changes))
        revised = ("variables", "variables_size", "definition", "undo")
        self.revise_task = self.text(sa.update(tasks).where(one).values({name: sa.bindparam(name) for name in revised}))
        self.commit = self.text(
            sa.update(tasks)
            .where(one, tasks.c.token == sa.bindparam("token"))
            .values(
                updated_at=self._now,
                crashes=tasks.c.crashes * sa.bindparam("keep_crashes", type_=sa.Integer),
                progress=sa.func.coalesce(sa.bindparam("progress", type_=sa.Text), tasks.c.progress),
                last_event=tasks.c.last_event + sa.bindparam("events", type_=sa.Integer),
            )
            .returning(tasks.c.updated_at, tasks.c.cancel_requested, self._disowned, tasks.c.last_event)
        )
        self.renew = self.text(
            sa.update(tasks)
            .where(one, tasks.c.token == sa.bindparam("token"))
            .values(due=self._now + sa.bindparam("lease", type_=sa.Double))
            .returning(tasks.c.cancel_requested, self._disowned)
        )

    def _compile_batches(self) -> None:
        running, asleep = _is(Status.RUNNING), _is(Status.PENDING, Status.WAITING)
        self.lock_lost = self._batch(running, tasks.c.due <= sa.bindparam("latest"), lock=True)
        self.lock_due = self._batch(asleep, tasks.c.due <= sa.bindparam("latest"), lock=True)
        ended = sa.select(tasks).where(tasks.c.parent.is_(None), tasks.c.completed_at < sa.bindparam("latest"))
        oldest = ended.order_by(tasks.c.completed_at, tasks.c.task_id).limit(sa.bindparam("limit")).offset(_NONE)
        self.lock_ended_roots = self.text(oldest.with_for_update(skip_locked=True))
        queued = (_is(Status.QUEUED), tasks.c.due <= sa.bindparam("latest"))
        self.queued = self._batch(*queued, lock=False)
        in_line = (tasks.c.queue == sa.bindparam("queue"), tasks.c.priority == sa.bindparam("priority"))
        self.queued_in_line = self._batch(*queued, *in_line, lock=False)
        self.next_due = self.text(sa.select(sa.func.min(tasks.c.due)).where(asleep))
        their: sa.BindParameter[str] = sa.bindparam("worker")
        theirs = sa.select(tasks).where(tasks.c.worker == their, running).order_by(tasks.c.task_id)
        self.lock_theirs = self.text(theirs.with_for_update())
        until: sa.BindParameter[float] = sa.bindparam("until", type_=sa.Double)
        self.clamp_leases = self._set_leases(running, tasks.c.due > until)
        self.give_grace = self._set_leases(running, tasks.c.due <= sa.bindparam("latest"))

    def _compile_belongings(self) -> None:
        one = steps.c.task_id == sa.bindparam("task_id")
        in_order = sa.select(*_STEP_COLUMNS).where(one).order_by(steps.c.position, steps.c.path)
        after = sa.tuple_(steps.c.position, steps.c.path) > sa.tuple_(
            sa.bindparam("position", type_=sa.Text), sa.bindparam("path", type_=sa.Text)
        )
        limit: sa.BindParameter[int] = sa.bindparam("limit", type_=sa.Integer)
        self.all_steps = self.text(in_order)
        self.steps_after = self.text(in_order.where(after).limit(limit).offset(_NONE))
        self.get_step = self.text(sa.select(*_STEP_COLUMNS).where(one, steps.c.path == sa.bindparam("path")))
        self.events_after = self.text(
            sa.select(*_EVENT_COLUMNS)
            .where(events.c.task_id == sa.bindparam("task_id"), events.c.id > sa.bindparam("after"))
            .order_by(events.c.id)
            .limit(limit)
            .offset(_NONE)
        )
        self.insert_event = self.text(sa.insert(events))
        self.insert_label = self.text(sa.insert(labels))
        self._compile_values()
        self._compile_file_uses()

    def _compile_values(self) -> None:
        value = (
            large_values.c.task_id == sa.bindparam("task_id"),
            large_values.c.key == sa.bindparam("key"),
        )
        new = self._insert(large_values)
        self.get_value = self.text(sa.select(large_values.c.text).where(*value))
        self.drop_value = self.text(sa.delete(large_values).where(*value))
        self.put_value = self.text(
            new.on_conflict_do_update(index_elements=["task_id", "key"], set_={"text": new.excluded.text})
        )
        self.insert_definition = self.text(self._insert(definitions).on_conflict_do_nothing())
        known = definitions.c.definition == sa.bindparam("definition")
        self.get_definition = self.text(sa.select(definitions.c.text).where(known))
        self.definition_of = self.text(
            sa.select(definitions.c.text).join(tasks).where(tasks.c.task_id == sa.bindparam("task_id"))
        )
        used = sa.exists().where(tasks.c.definition == definitions.c.definition)
        self.drop_definition = self.text(sa.delete(definitions).where(known, ~used))

    def _compile_file_uses(self) -> None:
        self.insert_file_use = self.text(self._insert(file_uses).on_conflict_do_nothing())
        self.drop_file_uses = self.text(
            sa.delete(file_uses).where(file_uses.c.task_id == sa.bindparam("task_id")).returning(file_uses.c.sha256)
        )
        used = sa.exists().where(file_uses.c.sha256 == sa.bindparam("sha256"))
        self.is_unused = self.text(sa.select(~used))
        self.forget = [
            self.text(sa.delete(table).where(table.c.task_id == sa.bindparam("task_id")))
            for table in (*BELONGINGS, tasks)
        ]

    def _batch(self, *where: sa.ColumnElement[bool], lock: bool) -> str:
        due = (
            sa.select(tasks)
            .where(*where)
            .order_by(tasks.c.due, tasks.c.task_id)
            .limit(sa.bindparam("limit"))
            .offset(_NONE)
        )
        return self.text(due.with_for_update(skip_locked=True) if lock else due)

    def _set_leases(self, *where: sa.ColumnElement[bool]) -> str:
        """A row that somebody else is at is left alone: two that lock many rows might wait for each other."""
        until: sa.BindParameter[float] = sa.bindparam("until", type_=sa.Double)
        found = sa.select(tasks.c.task_id).where(*where).with_for_update(skip_locked=True)
        return self.text(sa.update(tasks).where(tasks.c.task_id.in_(found)).values(due=until))

    def _upsert_steps(self, count: int) -> str:
        columns = [column.name for column in steps.columns]
        new = self._insert(steps).values(
            [{name: sa.bindparam(f"{name}_{row}") for name in columns} for row in range(count)]
        )
        changed = sa.or_(
            steps.c.record != new.excluded.record,
            steps.c.status != new.excluded.status,
            steps.c.output_size.is_distinct_from(new.excluded.output_size),
            steps.c.output.is_distinct_from(new.excluded.output),
        )
        replaced = {name: new.excluded[name] for name in columns if name not in ("task_id", "path")}
        return self.text(
            new.on_conflict_do_update(index_elements=["task_id", "path"], set_=replaced, where=changed).returning(
                steps.c.path
            )
        )


@lru_cache
def statements(is_sqlite: bool, server_time: bool) -> Statements:
    """The statements for a database; compiled once in a process."""
    return Statements(is_sqlite, server_time)


def _is(*statuses: Status) -> sa.ColumnElement[bool]:
    """In the very words of the indices over a part of the rows, which serve only then."""
    literals: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{status}'") for status in sorted(statuses)]
    return tasks.c.status == literals[0] if len(literals) == 1 else tasks.c.status.in_(literals)
