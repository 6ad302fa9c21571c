"""What the SQL store does within one transaction: read a row under its lock, ask `lifecycle`, write what it says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stepwell import lifecycle
from stepwell.errors import ClaimLost, NotFound
from stepwell.ports import Claim, Commit, Lease, Purged, Receipt
from stepwell.stores import records
from stepwell.stores.sql import rows
from stepwell.stores.sql.database import Session, TryAgain
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.statements import CHUNKS, Statements
from stepwell.task import FORMAT, NewTask, Status, StepRecord, Task

BATCH = 1000
"""How many tasks one call of `reap`, `wake` or `queued` answers at most."""

Ending = Callable[[Task, float, float], Task]
"""What becomes of a task whose claim ends, from the time and the seconds it ran."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of a store, and the words for what is done in it.

    Counters are kept in `shards` rows each, so that writers on many connections need not queue for one.
    """

    session: Session
    sql: Statements
    lease_seconds: float
    shards: int

    def create(self, new: NewTask) -> tuple[Task, bool]:
        """See `TaskStore.create`."""
        if (first := self._first(new)) is not None:
            return first, False
        kept = records.set_apart(new.variables)
        task = lifecycle.created(new, self.session.now())
        task = task if kept is None else replace(task, variables=kept)
        self.session.do(self.sql.insert_definition, {"definition": new.definition, "text": new.definition_text})
        if not self._write(self.sql.insert_task, [(None, TaskRow(task))]):
            raise TryAgain(f"task {new.task_id} was created by somebody else in this moment")
        if kept is not new.variables:
            self._put_value(new.task_id, "variables", new.variables)
        labels = [{"task_id": new.task_id, "name": name, "value": value} for name, value in new.labels.items()]
        self.session.do_many(self.sql.insert_label, labels)
        self._use_files(new.task_id, new.files)
        return task, True

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """See `TaskStore.claim`."""
        found = self.session.row(self.sql.lock_task, {"task_id": task_id})
        if found is None:
            return None
        row = rows.read_task(found)
        if row.token != token:
            if row.task.status is not Status.QUEUED or row.task.format > FORMAT or row.was_released_by(token):
                return None
            now = self.session.now()
            row = replace(row, token=token, claimed_at=now)
            row = replace(row, task=self._save(row, lifecycle.started(row.task, now, worker)))
        steps = [rows.read_step(step) for step in self.session.rows(self.sql.all_steps, {"task_id": task_id})]
        return Claim(row.task, token, self.definition(row.task.definition), steps, row.claimed_at or 0.0)

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        """See `TaskStore.commit`."""
        params = {
            "task_id": task_id,
            "token": token,
            "keep_crashes": int(not any(record.ended for record in commit.steps)),
            "progress": None if commit.progress is None else records.to_json(commit.progress),
            "events": len(commit.steps) + len(commit.events),
            **self.session.time_params(),
        }
        row = self.session.row(self.sql.commit, params)
        if row is None:
            self.get(task_id)
            raise ClaimLost(f"another worker holds task {task_id} now, or none")
        now, cancelled, last_event = row
        steps = lifecycle.allowed(commit.steps, bool(cancelled), commit.undoing)
        changed = self._put_steps(task_id, steps)
        told = [event for step in steps if step.path in changed and (event := lifecycle.step_event(step)) is not None]
        if changed or not commit.steps:
            told.extend(commit.events)
        first = last_event - params["events"] + 1
        self.session.do_many(self.sql.insert_event, rows.write_events(task_id, first, now, told))
        return Receipt(now, bool(cancelled))

    def end_claim(self, call: str, task_id: str, token: str, commit: Commit, ending: Ending) -> Task:
        """Commit, and give up the claim; a repeat of the same call changes nothing."""
        ended_by = f"{call}:{token}"
        row = self._locked(task_id)
        if row.released == ended_by and row.token != token:
            return row.task
        now = self.commit(task_id, token, commit).now
        row = self.get(task_id)
        task = ending(row.task, now, now - (row.claimed_at or now))
        return self._save(replace(row, token=None, released=ended_by), task)

    def put_outputs(self, task_id: str, outputs: str) -> None:
        """Keep outputs that are stored apart."""
        self._put_value(task_id, "outputs", outputs)

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """See `TaskStore.renew`."""
        until = self.session.now() + self.lease_seconds
        leases = {}
        for task_id, token in sorted(claims.items()):
            row = self.session.row(self.sql.renew, {"task_id": task_id, "token": token, "until": until})
            leases[task_id] = Lease(row is not None, row is not None and bool(row[0]))
        return leases

    def reap(self, grace: bool) -> list[Task]:
        """See `TaskStore.reap`."""
        now = self.session.now()
        params = {"latest": now, "until": now + self.lease_seconds}
        self.session.do(self.sql.clamp_leases, params)
        if grace:
            self.session.do(self.sql.give_grace, params)
            return []
        changes: list[tuple[TaskRow | None, TaskRow]] = []
        for row in self._batch(self.sql.lock_lost, now, BATCH):
            ran = min(now, row.due or now) - (row.claimed_at or now)
            changes.append((row, replace(row, task=lifecycle.lost(row.task, now, ran), token=None)))
        return self._save_all(changes)

    def wake(self) -> list[Task]:
        """See `TaskStore.wake`."""
        now = self.session.now()
        due = self._batch(self.sql.lock_due, now, BATCH)
        return self._save_all([(row, replace(row, task=lifecycle.woken(row.task, now))) for row in due])

    def due_in(self) -> float | None:
        """See `TaskStore.due_in`."""
        [[due]] = self.session.rows(self.sql.next_due, {})
        return None if due is None else max(0.0, due - self.session.now())

    def queued(self, older_than: float) -> list[Task]:
        """See `TaskStore.queued`."""
        return [row.task for row in self._batch(self.sql.queued, self.session.now() - older_than, BATCH)]

    def cancel(self, task_id: str, force: bool) -> Task:
        """See `TaskStore.cancel`."""
        row = self._locked(task_id)
        return self._save(row, lifecycle.cancelled(row.task, self.session.now(), force))

    def retry(self, task_id: str, reset: Iterable[str]) -> Task:
        """See `TaskStore.retry`."""
        row = self._locked(task_id)
        after = lifecycle.retried(row.task, self.session.now())
        paths = list(reset)
        found = [self.session.row(self.sql.get_step, {"task_id": task_id, "path": path}) for path in paths]
        self._put_steps(task_id, [lifecycle.reset(rows.read_step(step)) for step in found if step is not None])
        keys = ["outputs", *map(records.output_key, paths)]
        self.session.do_many(self.sql.drop_value, [{"task_id": task_id, "key": key} for key in keys])
        return self._save(row, after)

    def get(self, task_id: str) -> TaskRow:
        """The row of a task; raises `NotFound`."""
        return self._found(task_id, self.sql.get_task)

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

    def belongings(self, statement: str, task_id: str, params: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Rows that belong to a task; raises `NotFound` if there is no such task."""
        found = self.session.rows(statement, {"task_id": task_id, **params})
        if not found:
            self.get(task_id)
        return found

    def purge(self, older_than: float, limit: int) -> Purged:
        """See `TaskStore.purge`."""
        ended = [row.task for row in self._batch(self.sql.lock_ended, self.session.now() - older_than, limit)]
        dropped = [self.session.rows(self.sql.drop_file_uses, {"task_id": task.task_id}) for task in ended]
        for forget in self.sql.forget:
            self.session.do_many(forget, [{"task_id": task.task_id} for task in ended])
        hashes = sorted({task.definition for task in ended})
        self.session.do_many(self.sql.drop_definition, [{"definition": hash_} for hash_ in hashes])
        self._count([(task, None) for task in ended])
        return Purged(len(ended), self.unused(sorted({sha256 for uses in dropped for (sha256,) in uses})))

    def unused(self, sha256s: Iterable[str]) -> list[str]:
        """See `TaskStore.unused`."""
        found = ((sha256, self.session.rows(self.sql.is_unused, {"sha256": sha256})) for sha256 in sha256s)
        return [sha256 for sha256, [[is_unused]] in found if is_unused]

    def _first(self, new: NewTask) -> Task | None:
        row = self.session.row(self.sql.get_task, {"task_id": new.task_id})
        if row is not None:
            return rows.read_task(row).task
        if new.idempotency_key is None:
            return None
        row = self.session.row(self.sql.find_key, {"idempotency_key": new.idempotency_key})
        if row is None:
            return None
        task = rows.read_task(row).task
        variables = task.variables
        text = variables if isinstance(variables, str) else self.value(task.task_id, "variables")
        lifecycle.same_request(task, text, new)
        return task

    def _locked(self, task_id: str) -> TaskRow:
        return self._found(task_id, self.sql.lock_task)

    def _found(self, task_id: str, statement: str) -> TaskRow:
        row = self.session.row(statement, {"task_id": task_id})
        if row is None:
            raise NotFound("task", task_id)
        return rows.read_task(row)

    def _batch(self, statement: str, latest: float, limit: int) -> list[TaskRow]:
        found = self.session.rows(statement, {"latest": latest, "limit": limit})
        return [rows.read_task(row) for row in found]

    def _put_value(self, task_id: str, key: str, text: str) -> None:
        self.session.do(self.sql.put_value, {"task_id": task_id, "key": key, "text": text})

    def _use_files(self, task_id: str, sha256s: Iterable[str]) -> None:
        uses = [{"task_id": task_id, "sha256": sha256} for sha256 in sorted(set(sha256s))]
        self.session.do_many(self.sql.insert_file_use, uses)

    def _put_steps(self, task_id: str, steps: Sequence[StepRecord]) -> set[str]:
        """Keep the records; answers the paths of those that differ from what was there."""
        params = []
        for step in steps:
            kept, apart = records.split_output(step)
            if apart is not None:
                self._put_value(task_id, records.output_key(step.path), apart)
            params.append(rows.write_step(task_id, kept))
        self._use_files(task_id, records.files_of(steps))
        changed: set[str] = set()
        start = 0
        while start < len(params):
            size = next(size for size in CHUNKS if size <= len(params) - start)
            chunk = params[start : start + size]
            flat = {f"{name}_{at}": value for at, row in enumerate(chunk) for name, value in row.items()}
            changed.update(path for (path,) in self.session.rows(self.sql.upsert_steps(size), flat))
            start += size
        return changed

    def _save(self, row: TaskRow, after: Task) -> Task:
        """Write what a task, read as `row`, has become; the other fields of `row` are written with it."""
        return self._save_all([(row, replace(row, task=after))])[0]

    def _save_all(self, changes: Sequence[tuple[TaskRow | None, TaskRow]]) -> list[Task]:
        self._write(self.sql.save_task, changes)
        return [after.task for _, after in changes]

    def _write(self, statement: str, changes: Sequence[tuple[TaskRow | None, TaskRow]]) -> int:
        """Write rows with their events and counters; answers how many rows were written."""
        written, told = [], []
        for before, after in changes:
            events = lifecycle.task_events(None if before is None else before.task, after.task)
            told += rows.write_events(after.task.task_id, after.last_event + 1, after.task.updated_at, events)
            moved = before is None or before.task.status is not after.task.status
            due = self._due(after.task) if moved else after.due
            written.append(rows.write_task(replace(after, due=due, last_event=after.last_event + len(events))))
        count = self.session.do_many(statement, written)
        if count == len(changes):
            self.session.do_many(self.sql.insert_event, told)
            self._count([(None if before is None else before.task, after.task) for before, after in changes])
        return count

    def _due(self, task: Task) -> float | None:
        if task.status is Status.RUNNING:
            return task.updated_at + self.lease_seconds
        return task.wake_at if task.status in (Status.PENDING, Status.WAITING) else task.updated_at

    def _count(self, changes: Sequence[tuple[Task | None, Task | None]]) -> None:
        sums: Counter[tuple[str, str]] = Counter()
        for before, after in changes:
            task = after or before
            if task is not None:
                for name, change in lifecycle.count_changes(before, after).items():
                    sums[task.queue, str(name)] += change
        shard = random.randrange(self.shards)
        # Sorted, so that two transactions never wait for each other's counters.
        params = [
            {"queue": queue, "name": name, "shard": shard, "number": number}
            for (queue, name), number in sorted(sums.items())
            if number
        ]
        self.session.do_many(self.sql.count, params)
