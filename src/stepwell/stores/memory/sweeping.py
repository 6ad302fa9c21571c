"""What no caller asks the store in memory for: lost workers, tasks whose time has come, and old tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from stepwell import lifecycle
from stepwell.ports import Purged
from stepwell.stores.memory.entry import Entry
from stepwell.stores.memory.publications import MemoryPublications
from stepwell.task import Status, Task

BATCH = 1000
"""How many tasks one call of `reap`, `wake` or `queued` answers at most."""


class MemorySweeping(MemoryPublications):
    """The part of `MemoryStore` that a sweeper calls."""

    def reap(self, grace: bool = False) -> list[Task]:
        """See `TaskStore.reap`."""
        with self._ringing():
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
        with self._ringing():
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

    def purge(self, older_than: float, limit: int = 1000) -> Purged:
        """See `TaskStore.purge`."""
        with self._lock:
            latest = self.now() - older_than
            self._forget_publications(latest)
            gone = list(islice(self._families(latest), limit))
            for entry in gone:
                self._forget(entry)
            used = {entry.task.definition for entry in self._entries.values()}
            self._definitions = {hash_: text for hash_, text in self._definitions.items() if hash_ in used}
            files = {sha256 for entry in gone for sha256 in entry.files}
            return Purged(len(gone), self.unused(sorted(files)))

    def unused(self, sha256s: Iterable[str]) -> Sequence[str]:
        """See `TaskStore.unused`."""
        with self._lock:
            used = {sha256 for entry in self._entries.values() for sha256 in entry.files}
            return [sha256 for sha256 in sha256s if sha256 not in used]

    def _in_status(self, *statuses: Status) -> Sequence[Entry]:
        """The tasks in these states that are due at some time, the first one first."""
        found = (entry for entry in self._entries.values() if entry.task.status in statuses and entry.due is not None)
        return sorted(found, key=lambda entry: (entry.due or 0.0, entry.task.task_id))

    def _lose(self, entry: Entry, now: float, become: Callable[[Task, float, float], Task]) -> Task:
        entry.token = None
        ran = min(now, entry.due or now) - entry.claimed_at
        return self._save(entry, become(entry.task, now, ran))

    def _families(self, latest: float) -> Iterator[Entry]:
        """Root tasks that ended before this time, the oldest first, each after all that descend from it."""
        families = defaultdict(list)
        for task_id, entry in sorted(self._entries.items()):
            families[entry.task.ancestors[:1] or (task_id,)].append(entry)
        roots = [entry for entry in self._entries.values() if not entry.task.ancestors]
        old = [entry for entry in roots if (entry.task.completed_at or latest) < latest]
        for root in sorted(old, key=lambda entry: (entry.task.completed_at, entry.task.task_id)):
            yield from (entry for entry in families[root.task.task_id,] if entry is not root)
            yield root

    def _forget(self, entry: Entry) -> None:
        task = entry.task
        del self._entries[task.task_id]
        self._listen(entry, ())
        parent = self._entries.get(task.parent or "")
        if parent is not None and task.place in parent.crews:
            parent.crews[task.place].children.discard(task.task_id)
        if task.idempotency_key is not None:
            del self._keys[task.idempotency_key]
        self._counts[task.queue].update(lifecycle.count_changes(task, None))
