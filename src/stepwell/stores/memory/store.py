"""The task store in memory: plain dictionaries under one lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from stepwell import lifecycle
from stepwell.errors import NotFound
from stepwell.ports import Claim, Commit, Lease, Receipt, Revision, TaskFilter
from stepwell.stores import records, submission
from stepwell.stores.memory.crews import MemoryCrews
from stepwell.stores.memory.entry import Entry
from stepwell.stores.memory.mail import MemoryMail
from stepwell.stores.memory.sweeping import MemorySweeping
from stepwell.task import FORMAT, Error, Event, NewTask, Page, Status, StepRecord, Task


class MemoryStore(MemoryCrews, MemoryMail, MemorySweeping):
    """`TaskStore` in this process's memory. `now` gives its time; a lease lasts `lease_seconds`."""

    def __init__(self, now: Callable[[], float] = time.time, lease_seconds: float = 10.0) -> None:
        super().__init__(now, lease_seconds)

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
                self._save(entry, lifecycle.started(self._disowned(entry.task), now, worker))
            if entry.token != token:
                return None
            text = self._definitions[entry.task.definition]
            return Claim(entry.task, token, text, entry.in_order(), entry.claimed_at, list(entry.mail))

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

        with self._ringing():
            task = self._release("finish", task_id, token, commit, end)
            if outputs is not None and kept is not outputs:
                self._entry(task_id).values["outputs"] = outputs
            return task

    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        """See `TaskStore.back_off`."""
        with self._lock:
            return self._release(
                "back_off",
                task_id,
                token,
                commit,
                lambda task, now, ran: lifecycle.backed_off(task, now, ran, pause, error),
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

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """See `TaskStore.cancel`."""
        with self._ringing():
            entry = self._entry(task_id)
            return self._save(entry, lifecycle.cancelled(entry.task, self.now(), force))

    def retry(self, task_id: str, reset: Iterable[str], attempt: int, revision: Revision | None = None) -> Task:
        """See `TaskStore.retry`."""
        with self._lock:
            entry, paths = self._entry(task_id), list(reset)
            records.same_attempt(entry.task, attempt)
            after = lifecycle.retried(entry.task, self.now())
            for path in paths:
                if path in entry.steps:
                    entry.steps[path] = lifecycle.reset(entry.steps[path])
                    entry.values.pop(records.output_key(path), None)
            entry.values.pop("outputs", None)
            entry.forget_mail(paths)
            return self._save(entry, after if revision is None else self._revise(entry, after, revision))

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
        if only.parent is not None:
            return self._children(only, limit, cursor)
        before = None if cursor is None else records.decode_cursor(cursor, 1)[0]
        with self._lock:
            ids = sorted((id_ for id_ in self._entries if before is None or id_ < before), reverse=True)
            found = [self._entries[id_].task for id_ in ids if self._entries[id_].matches(only)]
        more = len(found) > limit
        return Page(found[:limit], records.encode_cursor(found[limit - 1].task_id) if more else None)

    def step(self, task_id: str, path: str) -> StepRecord:
        """See `TaskStore.step`."""
        with self._lock:
            steps = self._entry(task_id).steps
            if path not in steps:
                raise NotFound("step", path, steps)
            return steps[path]

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

    def ping(self) -> None:
        """See `TaskStore.ping`."""

    def close(self) -> None:
        """See `TaskStore.close`."""

    def _is_claimable(self, entry: Entry, token: str) -> bool:
        task = entry.task
        return task.status is Status.QUEUED and task.queue not in self._paused and not entry.was_released_by(token)

    def _renew(self, task_id: str, token: str) -> Lease:
        entry = self._entries.get(task_id)
        if entry is None or entry.token != token:
            return Lease(held=False)
        entry.due = self.now() + self._lease_seconds
        return Lease(held=True, cancelled=self._disowned(entry.task).cancel_requested)

    def _children(self, only: TaskFilter, limit: int, cursor: str | None) -> Page[Task]:
        after = None if cursor is None else records.decode_place(cursor)
        with self._lock:
            parent = self._entries.get(only.parent or "")
            ids = {child for crew in parent.crews.values() for child in crew.children} if parent is not None else set()
            found = [
                self._entries[id_].task for id_ in ids if id_ in self._entries and self._entries[id_].matches(only)
            ]
        found = sorted(
            (task for task in found if after is None or records.place_of(task) > after), key=records.place_of
        )
        return Page(found[:limit], records.encode_place(found[limit - 1]) if len(found) > limit else None)
