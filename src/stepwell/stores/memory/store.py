"""The task store in memory: plain dictionaries under one lock."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from stepwell import lifecycle
from stepwell.errors import ClaimLost, NotFound
from stepwell.ports import Claim, Commit, Lease, Purged, Receipt, TaskFilter
from stepwell.stores import records, submission
from stepwell.stores.memory.entry import Entry
from stepwell.stores.memory.ledger import MemoryLedger
from stepwell.task import FORMAT, Error, Event, NewTask, Page, Status, StepRecord, Task

BATCH = 1000
"""How many tasks one call of `reap`, `wake` or `queued` answers at most."""


class MemoryStore(MemoryLedger):
    """`TaskStore` in this process's memory. `now` gives its time; a lease lasts `lease_seconds`."""

    def __init__(self, now: Callable[[], float] = time.time, lease_seconds: float = 10.0) -> None:
        super().__init__(now)
        self._lease_seconds = lease_seconds
        self._entries: dict[str, Entry] = {}
        self._keys: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def create(self, new: NewTask, max_queued: int | None = None) -> tuple[Task, bool]:
        """See `TaskStore.create`."""
        return self.create_many([new], max_queued)[0]

    def create_many(self, new: Sequence[NewTask], max_queued: int | None = None) -> list[tuple[Task, bool]]:
        """See `TaskStore.create_many`."""
        new = [records.own(one) for one in new]
        with self._lock:
            by_id = {one.task_id: self._entries[one.task_id].task for one in new if one.task_id in self._entries}
            keys = {one.idempotency_key for one in new if one.idempotency_key in self._keys}
            by_key = {key: self._entries[self._keys[key]].task for key in keys if key is not None}
            answered = submission.answers(new, by_id, by_key, self.now())
            waiting = {queue: counts[Status.QUEUED] + counts[Status.PENDING] for queue, counts in self._counts.items()}
            submission.check_room(submission.asked_for(answered), waiting, max_queued)
            for one, (task, is_new) in zip(new, answered, strict=True):
                if is_new:
                    self._add(one, task)
            return answered

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """See `TaskStore.claim`."""
        with self._lock:
            entry = self._entries.get(task_id)
            if entry is None or entry.task.format > FORMAT:
                return None
            if self._is_claimable(entry, token):
                now = self.now()
                entry.token, entry.claimed_at = token, now
                self._save(entry, lifecycle.started(entry.task, now, worker))
            if entry.token != token:
                return None
            text = self._definitions[entry.task.definition]
            return Claim(entry.task, token, text, entry.in_order(), entry.claimed_at)

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        """See `TaskStore.commit`."""
        with self._lock:
            return self._write(self._held(task_id, token), commit)

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        """See `TaskStore.finish`."""
        kept = records.set_apart(outputs)

        def end(task: Task, now: float, ran: float) -> Task:
            return lifecycle.finished(task, now, ran, status, kept, error)

        with self._lock:
            task = self._release("finish", task_id, token, commit, end)
            if outputs is not None and kept is not outputs:
                self._entry(task_id).values["outputs"] = outputs
            return task

    def suspend(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        """See `TaskStore.suspend`."""
        with self._lock:
            return self._release(
                "suspend",
                task_id,
                token,
                commit,
                lambda task, now, ran: lifecycle.suspended(task, now, ran, pause, error),
            )

    def release(self, task_id: str, token: str, commit: Commit, pause: float = 0.0) -> Task:
        """See `TaskStore.release`."""
        with self._lock:
            return self._release(
                "release", task_id, token, commit, lambda task, now, ran: lifecycle.handed_back(task, now, ran, pause)
            )

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """See `TaskStore.renew`."""
        with self._lock:
            return {task_id: self._renew(task_id, token) for task_id, token in claims.items()}

    def reap(self, grace: bool = False) -> list[Task]:
        """See `TaskStore.reap`."""
        with self._lock:
            self._forget_periods()
            now = self.now()
            longest = now + self._lease_seconds
            running = self._in_status(Status.RUNNING)
            for entry in running:
                entry.due = min(entry.due or now, longest)
            dead = [entry for entry in running if (entry.due or now) <= now][:BATCH]
            if not grace:
                return [self._lose(entry, now, lifecycle.lost) for entry in dead]
            for entry in dead:
                entry.due = longest
            return []

    def lose(self, worker: str, crashed: bool = True) -> list[Task]:
        """See `TaskStore.lose`."""
        become = lifecycle.lost if crashed else lifecycle.handed_back
        with self._lock:
            now = self.now()
            theirs = [entry for _, entry in sorted(self._entries.items()) if entry.task.worker == worker]
            return [self._lose(entry, now, become) for entry in theirs]

    def wake(self) -> list[Task]:
        """See `TaskStore.wake`."""
        with self._lock:
            now = self.now()
            due = [entry for entry in self._in_status(Status.PENDING, Status.WAITING) if (entry.due or now) <= now]
            return [self._save(entry, lifecycle.woken(entry.task, now)) for entry in due[:BATCH]]

    def due_in(self) -> float | None:
        """See `TaskStore.due_in`."""
        with self._lock:
            asleep = self._in_status(Status.PENDING, Status.WAITING)
            return max(0.0, (asleep[0].due or 0.0) - self.now()) if asleep else None

    def queued(self, older_than: float, line: tuple[str, int] | None = None) -> list[Task]:
        """See `TaskStore.queued`."""
        with self._lock:
            latest = self.now() - older_than
            old = [entry.task for entry in self._in_status(Status.QUEUED) if (entry.due or 0.0) <= latest]
            return [task for task in old if line in (None, (task.queue, task.priority))][:BATCH]

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """See `TaskStore.cancel`."""
        with self._lock:
            entry = self._entry(task_id)
            return self._save(entry, lifecycle.cancelled(entry.task, self.now(), force))

    def retry(self, task_id: str, reset: Iterable[str], attempt: int) -> Task:
        """See `TaskStore.retry`."""
        with self._lock:
            entry = self._entry(task_id)
            records.same_attempt(entry.task, attempt)
            after = lifecycle.retried(entry.task, self.now())
            for path in reset:
                if path in entry.steps:
                    entry.steps[path] = lifecycle.reset(entry.steps[path])
                    entry.values.pop(records.output_key(path), None)
            entry.values.pop("outputs", None)
            return self._save(entry, after)

    def discard(self, task_id: str) -> Task:
        """See `TaskStore.discard`."""
        with self._lock:
            entry = self._entry(task_id)
            return self._save(entry, lifecycle.discarded(entry.task, self.now()))

    def get(self, task_id: str) -> Task:
        """See `TaskStore.get`."""
        with self._lock:
            return self._entry(task_id).task

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """See `TaskStore.list`."""
        before = None if cursor is None else records.decode_cursor(cursor, 1)[0]
        with self._lock:
            ids = sorted((id_ for id_ in self._entries if before is None or id_ < before), reverse=True)
            found = [self._entries[id_].task for id_ in ids if self._entries[id_].matches(only)]
        more = len(found) > limit
        return Page(found[:limit], records.encode_cursor(found[limit - 1].task_id) if more else None)

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """See `TaskStore.steps`."""
        after = None if cursor is None else tuple(records.decode_cursor(cursor, 2))
        with self._lock:
            ordered = self._entry(task_id).in_order()
        found = [record for record in ordered if after is None or (record.position, record.path) > after]
        if limit is None or len(found) <= limit:
            return Page(found)
        last = found[limit - 1]
        return Page(found[:limit], records.encode_cursor(last.position, last.path))

    def events(self, task_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See `TaskStore.events`."""
        with self._lock:
            return [event for event in self._entry(task_id).events if event.id > after][:limit]

    def value(self, task_id: str, key: str) -> str:
        """See `TaskStore.value`."""
        with self._lock:
            values = self._entry(task_id).values
            if key not in values:
                raise NotFound("value", key, values)
            return values[key]

    def definition(self, definition: str) -> str:
        """See `TaskStore.definition`."""
        with self._lock:
            if definition not in self._definitions:
                raise NotFound("definition", definition)
            return self._definitions[definition]

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.counts`."""
        with self._lock:
            return {
                queue: {name: counter[name] for name in lifecycle.COUNTERS} for queue, counter in self._counts.items()
            }

    def ages(self) -> Mapping[str, float]:
        """See `TaskStore.ages`."""
        with self._lock:
            now = self.now()
            youngest_first = reversed(self._in_status(Status.QUEUED))
            return {entry.task.queue: max(0.0, now - (entry.due or now)) for entry in youngest_first}

    def purge(self, older_than: float, limit: int = 1000) -> Purged:
        """See `TaskStore.purge`."""
        with self._lock:
            latest = self.now() - older_than
            ended = [entry for entry in self._entries.values() if (entry.task.completed_at or latest) < latest]
            ended.sort(key=lambda entry: (entry.task.completed_at, entry.task.task_id))
            for entry in ended[:limit]:
                self._forget(entry.task)
            used = {entry.task.definition for entry in self._entries.values()}
            self._definitions = {hash_: text for hash_, text in self._definitions.items() if hash_ in used}
            files = {sha256 for entry in ended[:limit] for sha256 in entry.files}
            return Purged(len(ended[:limit]), self.unused(sorted(files)))

    def unused(self, sha256s: Iterable[str]) -> Sequence[str]:
        """See `TaskStore.unused`."""
        with self._lock:
            used = {sha256 for entry in self._entries.values() for sha256 in entry.files}
            return [sha256 for sha256 in sha256s if sha256 not in used]

    def ping(self) -> None:
        """See `TaskStore.ping`."""

    def close(self) -> None:
        """See `TaskStore.close`."""

    def _entry(self, task_id: str) -> Entry:
        entry = self._entries.get(task_id)
        if entry is None:
            raise NotFound("task", task_id)
        return entry

    def _held(self, task_id: str, token: str) -> Entry:
        entry = self._entry(task_id)
        if entry.token != token:
            raise ClaimLost(f"another worker holds task {task_id} now, or none")
        return entry

    def _in_status(self, *statuses: Status) -> Sequence[Entry]:
        found = (entry for entry in self._entries.values() if entry.task.status in statuses)
        return sorted(found, key=lambda entry: (entry.due or 0.0, entry.task.task_id))

    def _add(self, new: NewTask, task: Task) -> None:
        entry = Entry(task, files=set(new.files))
        if task.variables is not new.variables:
            entry.values["variables"] = new.variables
        self._entries[task.task_id] = entry
        self._definitions.setdefault(new.definition, new.definition_text)
        if new.idempotency_key is not None:
            self._keys[new.idempotency_key] = task.task_id
        self._tell(entry, None, task)

    def _is_claimable(self, entry: Entry, token: str) -> bool:
        task = entry.task
        return task.status is Status.QUEUED and task.queue not in self._paused and not entry.was_released_by(token)

    def _write(self, entry: Entry, commit: Commit) -> Receipt:
        now, task = self.now(), entry.task
        steps = lifecycle.allowed(commit.steps, task.cancel_requested, commit.undoing)
        progress = None if commit.progress is None else records.copied(commit.progress)
        entry.task = lifecycle.committed(task, now, steps, progress)
        changed = [record for record in steps if entry.put(record)]
        entry.files |= records.files_of(steps)
        events = [event for record in changed if (event := lifecycle.step_event(record)) is not None]
        if changed or not commit.steps:
            events.extend(map(records.plain_event, commit.events))
        entry.tell(now, events)
        return Receipt(now, task.cancel_requested)

    def _release(
        self, call: str, task_id: str, token: str, commit: Commit, after: Callable[[Task, float, float], Task]
    ) -> Task:
        entry = self._entry(task_id)
        ended_by = f"{call}:{token}"
        if entry.released == ended_by and entry.token != token:
            return entry.task
        self._held(task_id, token)
        now = self.now()
        task = after(entry.task, now, now - entry.claimed_at)
        self._write(entry, commit)
        task = after(entry.task, now, now - entry.claimed_at)
        entry.token, entry.released = None, ended_by
        return self._save(entry, task)

    def _save(self, entry: Entry, after: Task) -> Task:
        before, entry.task = entry.task, after
        self._tell(entry, before, after)
        return after

    def _tell(self, entry: Entry, before: Task | None, after: Task) -> None:
        if before is None or before.status is not after.status:
            entry.due = self._due(after)
        self._counts[after.queue].update(lifecycle.count_changes(before, after))
        self._count_ending(before, after)
        entry.tell(after.updated_at, lifecycle.task_events(before, after))

    def _due(self, task: Task) -> float | None:
        if task.status is Status.RUNNING:
            return task.updated_at + self._lease_seconds
        return task.updated_at if task.status is Status.QUEUED else task.wake_at

    def _renew(self, task_id: str, token: str) -> Lease:
        entry = self._entries.get(task_id)
        if entry is None or entry.token != token:
            return Lease(held=False)
        entry.due = self.now() + self._lease_seconds
        return Lease(held=True, cancelled=entry.task.cancel_requested)

    def _lose(self, entry: Entry, now: float, become: Callable[[Task, float, float], Task]) -> Task:
        entry.token = None
        ran = min(now, entry.due or now) - entry.claimed_at
        return self._save(entry, become(entry.task, now, ran))

    def _forget(self, task: Task) -> None:
        del self._entries[task.task_id]
        if task.idempotency_key is not None:
            del self._keys[task.idempotency_key]
        self._counts[task.queue].update(lifecycle.count_changes(task, None))
