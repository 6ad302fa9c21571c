"""How the store in memory writes tasks: guarded, with their events and counters, and what their end does to others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stepwell import lifecycle
from stepwell.errors import ClaimLost, NotFound
from stepwell.ports import Commit, Receipt, Revision
from stepwell.stores import bells, records, submission
from stepwell.stores.memory.entry import CrewEntry, Entry
from stepwell.stores.memory.ledger import MemoryLedger
from stepwell.task import Crew, NewMail, NewTask, Status, Task


class MemoryTasks(MemoryLedger):
    """The ground of `MemoryStore`: its tasks, and the one way to change one."""

    def __init__(self, now: Callable[[], float], lease_seconds: float) -> None:
        super().__init__(now)
        self._lease_seconds = lease_seconds
        self._entries: dict[str, Entry] = {}
        self._keys: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._listening: Counter[str] = Counter()
        self._ring: Callable[[Task], None] | None = None
        self._to_ring: list[Task] = []

    def rings_with(self, ring: Callable[[Task], None]) -> None:
        """See `TaskStore.rings_with`."""
        self._ring = ring

    @contextmanager
    def _ringing(self) -> Iterator[None]:
        """Hold the lock, and ring, once it is given back, for what was queued without being answered."""
        with self._lock:
            yield
            queued, self._to_ring = self._to_ring, []
        bells.ring_for(queued, self._ring)

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

    def _disowned(self, task: Task) -> Task:
        around = [self._entries[task_id].task for task_id in task.ancestors if task_id in self._entries]
        return lifecycle.disowned(task, around)

    def _add(self, new: NewTask, task: Task) -> None:
        entry = Entry(task, files=set(new.files))
        if task.variables is not new.variables:
            entry.values["variables"] = new.variables
        self._entries[task.task_id] = entry
        self._definitions.setdefault(new.definition, new.definition_text)
        if new.idempotency_key is not None:
            self._keys[new.idempotency_key] = task.task_id
        self._tell(entry, None, task)

    def _revise(self, entry: Entry, after: Task, revision: Revision) -> Task:
        after = submission.revised(after, revision)
        if revision.variables is not None:
            entry.values.pop("variables", None)
            if after.variables is not revision.variables:
                entry.values["variables"] = revision.variables
        if revision.definition_text is not None:
            self._definitions.setdefault(after.definition, revision.definition_text)
        entry.files |= set(revision.files)
        return after

    def _write(self, entry: Entry, commit: Commit) -> Receipt:
        now, before = self.now(), entry.task
        task = self._disowned(before)
        steps = lifecycle.allowed(commit.steps, task.cancel_requested, commit.undoing)
        progress = None if commit.progress is None else records.copied(commit.progress)
        entry.task = lifecycle.committed(task, now, steps, progress)
        changed = [record for record in steps if entry.put(record)]
        entry.files |= records.files_of(steps)
        events = lifecycle.task_events(before, entry.task)
        events.extend(event for record in changed if (event := lifecycle.step_event(record)) is not None)
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
        after(entry.task, now, now - entry.claimed_at)  # an illegal move is refused before anything is written
        self._write(entry, commit)
        task = after(entry.task, now, now - entry.claimed_at)
        entry.token, entry.released = None, ended_by
        return self._save(entry, task)

    def _save(self, entry: Entry, after: Task) -> Task:
        before, entry.task = entry.task, after
        self._tell(entry, before, after)
        if after.ended and not before.ended and after.parent in self._entries and after.place is not None:
            self._left(self._entries[after.parent], after.place, before, after)
        return after

    def _tell(self, entry: Entry, before: Task | None, after: Task) -> None:
        if before is None or before.status is not after.status:
            entry.due = self._due(after)
            self._listen(entry, ())
        self._counts[after.queue].update(lifecycle.count_changes(before, after))
        self._count_ending(before, after)
        entry.tell(after.updated_at, lifecycle.task_events(before, after))

    def _due(self, task: Task) -> float | None:
        if task.status is Status.RUNNING:
            return task.updated_at + self._lease_seconds
        return task.updated_at if task.status is Status.QUEUED else task.wake_at

    def _listen(self, entry: Entry, topics: tuple[str, ...]) -> None:
        self._listening.subtract({topic.partition("\0")[0] for topic in entry.topics})
        self._listening.update({topic.partition("\0")[0] for topic in topics})
        entry.topics = topics

    def _queue(self, entry: Entry) -> None:
        """Queue a task of which no caller will hear."""
        self._to_ring.append(self._save(entry, lifecycle.woken(entry.task, self.now())))

    def _left(self, parent: Entry, path: str, before: Task, after: Task) -> None:
        """A child has ended: the next one has its place, or the crew is over."""
        crew = parent.crews[path]
        self._change(parent, path, lifecycle.left(crew.crew, before, after))
        self._fill(crew)

    def _change(self, parent: Entry, path: str, after: Crew) -> None:
        """Keep what a crew has become, and tell its parent if it is over by that."""
        kept = parent.crews[path]
        before, kept.crew = kept.crew, after
        if not after.over or (before.over and before.round == after.round):
            return
        parent.post(self.now(), NewMail(lifecycle.crew_mail(path), str(after.round)))
        if lifecycle.listens(parent.task):
            self._queue(parent)

    def _fill(self, crew: CrewEntry) -> None:
        """Queue held children while there are places."""
        while lifecycle.has_place(crew.crew) and (task_id := crew.next_held()) is not None:
            held = self._entries.get(task_id)
            if held is not None and held.task.status is Status.PENDING:
                crew.crew = lifecycle.joined(crew.crew)
                self._queue(held)
