"""What all transactions of the SQL store are made of: reading rows, and writing what `lifecycle` says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stepwell import lifecycle
from stepwell.errors import NotFound
from stepwell.stores import records
from stepwell.stores.sql import rows
from stepwell.stores.sql.database import Row, Session
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.statements import CHUNKS, Statements
from stepwell.task import Status, StepRecord, Task

MINUTE = 60

Change = tuple[TaskRow | None, TaskRow]
"""A task before, None if it is new, and after."""

Move = tuple[Task | None, Task | None]
"""A task before and after, None if it was or is not there."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of a store.

    Rows of tasks are locked one at a time, a parent before its children, or in the order of their ids, or passing over
    those that are locked; counters are written last. So hardly ever do two transactions wait for each other, and then
    one of them is run again. Counters are kept in `shards` rows each, so that writers on many connections need not
    queue for one.

    `to_ring` are tasks of which the caller will not hear that they were queued. `moved` is still to be counted, and so
    are `tallies`, by name of publications and counter.
    """

    session: Session
    sql: Statements
    lease_seconds: float
    shards: int
    to_ring: list[Task] = field(default_factory=list)
    moved: list[Move] = field(default_factory=list)
    tallies: Counter[tuple[str, str]] = field(default_factory=Counter)

    def get(self, task_id: str) -> TaskRow:
        """The row of a task; raises `NotFound`."""
        return found_task(self.session.rows(self.sql.get_task, {"task_id": task_id}), task_id)

    def lock(self, task_id: str) -> tuple[float, TaskRow]:
        """The time and the row of a task, which nobody else changes until the end; raises `NotFound`."""
        now, [found] = self.session.look((self.sql.lock_task, {"task_id": task_id}))
        return now, found_task(found, task_id)

    def batch(self, statement: str, latest: float, limit: int) -> list[TaskRow]:
        """Up to `limit` rows that were due at `latest`, oldest first."""
        return [rows.read_task(row) for row in self.session.rows(statement, {"latest": latest, "limit": limit})]

    def belongings(self, statement: str, task_id: str, params: Mapping[str, Any]) -> Sequence[Row]:
        """Rows that belong to a task; raises `NotFound` if there is no such task."""
        found = self.session.rows(statement, {"task_id": task_id, **params})
        if not found:
            self.get(task_id)
        return found

    def value(self, task_id: str, key: str) -> str:
        """See `TaskStore.value`."""
        row = self.session.row(self.sql.get_value, {"task_id": task_id, "key": key})
        if row is None:
            self.get(task_id)
            raise NotFound("value", key)
        return str(row[0])

    def definition(self, definition: str) -> str:
        """See `TaskStore.definition`."""
        row = self.session.row(self.sql.get_definition, {"definition": definition})
        if row is None:
            raise NotFound("definition", definition)
        return str(row[0])

    def put_value(self, task_id: str, key: str, text: str) -> None:
        """Keep a value that is stored apart."""
        self.session.do(self.sql.put_value, {"task_id": task_id, "key": key, "text": text})

    def use_files(self, task_id: str, sha256s: Iterable[str]) -> None:
        """Note that a task refers to files."""
        uses = [{"task_id": task_id, "sha256": sha256} for sha256 in sorted(set(sha256s))]
        self.session.do_many(self.sql.insert_file_use, uses)

    def put_steps(self, task_id: str, steps: Sequence[StepRecord]) -> set[str]:
        """Keep the records; answers the paths of those that differ from what was there."""
        params = []
        for step in steps:
            kept, apart = records.split_output(step)
            if apart is not None:
                self.put_value(task_id, records.output_key(step.path), apart)
            params.append(rows.write_step(task_id, kept))
        if not params:
            return set()
        self.use_files(task_id, records.files_of(steps))
        _, changed = self.session.look(*self._upserts(params))
        return {path for found in changed for (path,) in found}

    def reset(self, task_id: str, paths: Sequence[str], steps: Iterable[StepRecord]) -> None:
        """Make those of the steps that have these paths as before their first try; their outputs and their mail go,
        and the outputs of the task."""
        chosen = set(paths)
        self.put_steps(task_id, [lifecycle.reset(step) for step in steps if step.path in chosen])
        keys = ["outputs", *map(records.output_key, paths)]
        self.session.do_many(self.sql.drop_value, [{"task_id": task_id, "key": key} for key in keys])
        self.session.do_many(self.sql.waiting.drop_mail, [{"task_id": task_id, "name": path} for path in paths])

    def save(self, row: TaskRow, after: Task) -> Task:
        """Write what a task, read as `row`, has become; the other fields of `row` are written with it."""
        return self.save_all([(row, replace(row, task=after))])[0]

    def save_all(self, changes: Sequence[Change]) -> list[Task]:
        """Write tasks that are there, with their events and counters."""
        return self._write(self.sql.save_task, changes)

    def insert_all(self, tasks: Sequence[Task]) -> list[Task]:
        """Write new tasks, with their events and counters."""
        return self._write(self.sql.insert_task, [(None, TaskRow(task)) for task in tasks])

    def queue(self, row: TaskRow, now: float) -> Task:
        """Queue a task that sleeps, of which the caller will not hear."""
        task = self.save(row, lifecycle.woken(row.task, now))
        self.to_ring.append(task)
        return task

    def write_counters(self) -> None:
        """Add what moved to the counters: once, at the end, and in one order."""
        shard = random.randrange(self.shards)
        self._add(self.sql.publishing.count, ("name", "counter"), self.tallies, shard)
        self._add(self.sql.ledger.count, ("queue", "name"), _sums(self.moved), shard)
        self._add(self.sql.ledger.count_ending, ("minute", "queue", "status"), Counter(_endings(self.moved)), shard)

    def listen_no_more(self, task_ids: Sequence[str]) -> None:
        """What these tasks waited for wakes them no more."""
        if task_ids:
            silent = self.session.rows(self.sql.waiting.drop_listens, self.sql.waiting.ids(task_ids))
            self.tallies.subtract((name, "listening") for _, name in {(task_id, name) for task_id, name in silent})

    def _write(self, statement: str, changes: Sequence[Change]) -> list[Task]:
        written, told = [], []
        for before, after in changes:
            events = lifecycle.task_events(None if before is None else before.task, after.task)
            told += rows.write_events(after.task.task_id, after.last_event + 1, after.task.updated_at, events)
            moved = before is None or before.task.status is not after.task.status
            due = self._due(after.task) if moved else after.due
            written.append(rows.write_task(replace(after, due=due, last_event=after.last_event + len(events))))
        self.session.do_many(statement, written)
        self.session.do_many(self.sql.insert_event, told)
        self.listen_no_more([before.task.task_id for before, after in changes if before and _awakes(before, after)])
        self.moved.extend((None if before is None else before.task, after.task) for before, after in changes)
        return [after.task for _, after in changes]

    def _add(self, statement: str, names: Sequence[str], sums: Mapping[Any, int], shard: int) -> None:
        """Sorted, so that two transactions never wait for each other's counters."""
        params = [
            {**dict(zip(names, key, strict=True)), "shard": shard, "number": number}
            for key, number in sorted(sums.items())
            if number
        ]
        self.session.do_many(statement, params)

    def _due(self, task: Task) -> float | None:
        if task.status is Status.RUNNING:
            return task.updated_at + self.lease_seconds
        return task.wake_at if task.status in (Status.PENDING, Status.WAITING) else task.updated_at

    def _upserts(self, params: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        start = 0
        while start < len(params):
            size = next(size for size in CHUNKS if size <= len(params) - start)
            chunk = params[start : start + size]
            flat = {f"{name}_{at}": value for at, row in enumerate(chunk) for name, value in row.items()}
            yield self.sql.upsert_steps(size), flat
            start += size


def found_task(found: Sequence[Row], task_id: str) -> TaskRow:
    """The one row of a task; raises `NotFound` if there is none."""
    if not found:
        raise NotFound("task", task_id)
    return rows.read_task(found[0])


def _awakes(before: TaskRow, after: TaskRow) -> bool:
    return before.task.status is Status.WAITING and after.task.status is not Status.WAITING


def _sums(moved: Iterable[Move]) -> Mapping[tuple[str, str], int]:
    sums: Counter[tuple[str, str]] = Counter()
    for before, after in moved:
        task = after or before
        if task is not None:
            for name, change in lifecycle.count_changes(before, after).items():
                sums[task.queue, str(name)] += change
    return sums


def _endings(moved: Iterable[Move]) -> Iterator[tuple[int, str, str]]:
    for before, after in moved:
        if after is not None and after.completed_at is not None and (before is None or not before.ended):
            yield int(after.completed_at // MINUTE), after.queue, str(after.status)
