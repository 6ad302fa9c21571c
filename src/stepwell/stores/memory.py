"""A task store in memory: the twin of the SQL store for tests and for runs that need not outlive the process."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepwell import lifecycle
from stepwell.errors import ClaimLost, NotFound
from stepwell.ports import Claim, Commit, Lease, Purged, Receipt, TaskFilter
from stepwell.stores import records
from stepwell.task import FORMAT, Error, Event, NewEvent, NewTask, Page, Status, StepRecord, Task

BATCH = 1000
"""How many tasks one call of `reap`, `wake` or `queued` answers at most."""


@dataclass(slots=True)
class _Entry:
    """A task with all that belongs to it.

    `due` is when it next needs a look: since when it is queued, when its lease ends, when it wakes. `released`
    remembers which call of which token ended the last claim, so that a repeat is known.
    """

    task: Task
    due: float | None = None
    token: str | None = None
    released: str | None = None
    claimed_at: float = 0.0
    steps: dict[str, StepRecord] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    last_event: int = 0


class MemoryStore:
    """`TaskStore` in this process's memory. `now` gives its time; a lease lasts `lease_seconds`."""

    def __init__(self, now: Callable[[], float] = time.time, lease_seconds: float = 10.0) -> None:
        self.now = now
        self._lease_seconds = lease_seconds
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._keys: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def create(self, new: NewTask) -> tuple[Task, bool]:
        """See `TaskStore.create`."""
        new = records.own(new)
        with self._lock:
            if (first := self._first(new)) is not None:
                return first, False
            task = lifecycle.created(new, self.now())
            kept = records.set_apart(new.variables)
            entry = _Entry(task if kept is None else replace(task, variables=kept), files=set(new.files))
            if kept is not new.variables:
                entry.values["variables"] = new.variables
            self._entries[new.task_id] = entry
            self._definitions.setdefault(new.definition, new.definition_text)
            if new.idempotency_key is not None:
                self._keys[new.idempotency_key] = new.task_id
            self._tell(entry, None, entry.task)
            return entry.task, True

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """See `TaskStore.claim`."""
        with self._lock:
            entry = self._entries.get(task_id)
            if entry is None or entry.task.format > FORMAT:
                return None
            if entry.task.status is Status.QUEUED and not _was_released(entry, token):
                now = self.now()
                entry.token, entry.claimed_at = token, now
                self._save(entry, lifecycle.started(entry.task, now, worker))
            if entry.token != token:
                return None
            text = self._definitions[entry.task.definition]
            return Claim(entry.task, token, text, _in_order(entry), entry.claimed_at)

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

    def release(self, task_id: str, token: str, commit: Commit) -> Task:
        """See `TaskStore.release`."""
        with self._lock:
            return self._release("release", task_id, token, commit, lifecycle.handed_back)

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """See `TaskStore.renew`."""
        with self._lock:
            return {task_id: self._renew(task_id, token) for task_id, token in claims.items()}

    def reap(self, grace: bool = False) -> list[Task]:
        """See `TaskStore.reap`."""
        with self._lock:
            now = self.now()
            longest = now + self._lease_seconds
            running = self._in_status(Status.RUNNING)
            for entry in running:
                entry.due = min(entry.due or now, longest)
            dead = [entry for entry in running if (entry.due or now) <= now][:BATCH]
            if not grace:
                return [self._lose(entry, now) for entry in dead]
            for entry in dead:
                entry.due = longest
            return []

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

    def queued(self, older_than: float) -> list[Task]:
        """See `TaskStore.queued`."""
        with self._lock:
            latest = self.now() - older_than
            entries = self._in_status(Status.QUEUED)
            return [entry.task for entry in entries if (entry.due or 0.0) <= latest][:BATCH]

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """See `TaskStore.cancel`."""
        with self._lock:
            entry = self._entry(task_id)
            return self._save(entry, lifecycle.cancelled(entry.task, self.now(), force))

    def retry(self, task_id: str, reset: Iterable[str]) -> Task:
        """See `TaskStore.retry`."""
        with self._lock:
            entry = self._entry(task_id)
            after = lifecycle.retried(entry.task, self.now())
            for path in reset:
                if path in entry.steps:
                    entry.steps[path] = lifecycle.reset(entry.steps[path])
                    entry.values.pop(records.output_key(path), None)
            entry.values.pop("outputs", None)
            return self._save(entry, after)

    def get(self, task_id: str) -> Task:
        """See `TaskStore.get`."""
        with self._lock:
            return self._entry(task_id).task

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """See `TaskStore.list`."""
        before = None if cursor is None else records.decode_cursor(cursor, 1)[0]
        with self._lock:
            ids = sorted((id_ for id_ in self._entries if before is None or id_ < before), reverse=True)
            tasks = [self._entries[id_].task for id_ in ids]
        found = [task for task in tasks if _matches(task, only)]
        more = len(found) > limit
        return Page(found[:limit], records.encode_cursor(found[limit - 1].task_id) if more else None)

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """See `TaskStore.steps`."""
        after = None if cursor is None else tuple(records.decode_cursor(cursor, 2))
        with self._lock:
            ordered = _in_order(self._entry(task_id))
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

    def _entry(self, task_id: str) -> _Entry:
        entry = self._entries.get(task_id)
        if entry is None:
            raise NotFound("task", task_id)
        return entry

    def _held(self, task_id: str, token: str) -> _Entry:
        entry = self._entry(task_id)
        if entry.token != token:
            raise ClaimLost(f"another worker holds task {task_id} now, or none")
        return entry

    def _in_status(self, *statuses: Status) -> Sequence[_Entry]:
        found = (entry for entry in self._entries.values() if entry.task.status in statuses)
        return sorted(found, key=lambda entry: (entry.due or 0.0, entry.task.task_id))

    def _first(self, new: NewTask) -> Task | None:
        if new.task_id in self._entries:
            return self._entries[new.task_id].task
        first = None if new.idempotency_key is None else self._keys.get(new.idempotency_key)
        if first is None:
            return None
        entry = self._entries[first]
        variables = entry.task.variables
        text = variables if isinstance(variables, str) else entry.values["variables"]
        lifecycle.same_request(entry.task, text, new)
        return entry.task

    def _write(self, entry: _Entry, commit: Commit) -> Receipt:
        now, task = self.now(), entry.task
        steps = lifecycle.allowed(commit.steps, task.cancel_requested, commit.undoing)
        progress = None if commit.progress is None else records.copied(commit.progress)
        entry.task = lifecycle.committed(task, now, steps, progress)
        changed = [record for record in steps if _put(entry, record)]
        entry.files |= records.files_of(steps)
        events = [event for record in changed if (event := lifecycle.step_event(record)) is not None]
        if changed or not commit.steps:
            events.extend(map(records.plain_event, commit.events))
        _append(entry, now, events)
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

    def _save(self, entry: _Entry, after: Task) -> Task:
        before, entry.task = entry.task, after
        self._tell(entry, before, after)
        return after

    def _tell(self, entry: _Entry, before: Task | None, after: Task) -> None:
        if before is None or before.status is not after.status:
            entry.due = self._due(after)
        self._counts[after.queue].update(lifecycle.count_changes(before, after))
        _append(entry, after.updated_at, lifecycle.task_events(before, after))

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

    def _lose(self, entry: _Entry, now: float) -> Task:
        entry.token = None
        ran = min(now, entry.due or now) - entry.claimed_at
        return self._save(entry, lifecycle.lost(entry.task, now, ran))

    def _forget(self, task: Task) -> None:
        del self._entries[task.task_id]
        if task.idempotency_key is not None:
            del self._keys[task.idempotency_key]
        self._counts[task.queue].update(lifecycle.count_changes(task, None))


def _was_released(entry: _Entry, token: str) -> bool:
    return entry.released is not None and entry.released.partition(":")[2] == token


def _in_order(entry: _Entry) -> Sequence[StepRecord]:
    return sorted(entry.steps.values(), key=lambda record: (record.position, record.path))


def _put(entry: _Entry, record: StepRecord) -> bool:
    """Keep a record; answers whether it differs from the one before it, which the repeat of a commit does not."""
    kept, apart = records.split_output(record)
    if kept.failures or kept.files:
        kept = records.step_from_json(kept.path, kept.position, kept.status, records.step_to_json(kept), kept.output)
    if apart is not None:
        entry.values[records.output_key(record.path)] = apart
    changed = entry.steps.get(record.path) != kept
    entry.steps[record.path] = kept
    return changed


def _append(entry: _Entry, now: float, events: Iterable[NewEvent]) -> None:
    entry.events.extend(_numbered(entry, now, events))


def _numbered(entry: _Entry, now: float, events: Iterable[NewEvent]) -> Iterator[Event]:
    for event in events:
        entry.last_event += 1
        yield Event(entry.last_event, entry.task.task_id, now, event.kind, event.path, event.data)


def _matches(task: Task, only: TaskFilter) -> bool:
    return (
        (only.status is None or task.status is only.status)
        and (only.workflow_id is None or task.workflow_id == only.workflow_id)
        and (only.queue is None or task.queue == only.queue)
        and (only.external_id is None or task.external_id == only.external_id)
        and only.labels.items() <= task.labels.items()
    )
