"""Children of tasks in the store in memory: making them, and cancelling them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stepwell import lifecycle
from stepwell.errors import NotFound
from stepwell.stores import records, submission
from stepwell.stores.memory.entry import CrewEntry, Entry
from stepwell.stores.memory.tasks import MemoryTasks
from stepwell.task import Crew, NewTask, Status, Task

BATCH = 1000
"""How many children one call cancels at most."""


class MemoryCrews(MemoryTasks):
    """The part of `MemoryStore` that concerns crews."""

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        """See `TaskStore.spawn`."""
        children = [records.own(child) for child in children]
        with self._ringing():
            parent = self._held(task_id, token)
            before = parent.crews[path].crew if path in parent.crews else None
            wanted = lifecycle.recrewed(before, crew)
            kept = parent.crews.setdefault(path, CrewEntry(replace(wanted, round=0)))
            self._change(parent, path, wanted)
            self._fill(kept)
            cancelled = self._disowned(parent.task).cancel_requested
            for child in children:
                if not kept.crew.closed and (child.undoing or not cancelled):
                    self._join(kept, child)
            return kept.crew

    def crew(self, task_id: str, path: str) -> Crew:
        """See `TaskStore.crew`."""
        with self._lock:
            crews = self._entry(task_id).crews
            if path not in crews:
                raise NotFound("crew", path, crews)
            return crews[path].crew

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        """See `TaskStore.cancel_children`."""
        with self._ringing():
            parent = self._entry(task_id)
            crews = {place: crew for place, crew in parent.crews.items() if path in (None, place)}
            for place, crew in crews.items():
                self._change(parent, place, replace(crew.crew, closed=True))
            children = [self._entries[child] for crew in crews.values() for child in crew.children]
            to_cancel = [child for child in children if not (child.task.ended or child.task.cancel_requested)]
            to_cancel.sort(key=lambda child: records.place_of(child.task))
            now = self.now()
            return [self._cancel(child, now) for child in to_cancel[:BATCH]]

    def _cancel(self, child: Entry, now: float) -> Task:
        before, after = child.task, self._save(child, lifecycle.cancelled(child.task, now, force=True))
        if after.status is Status.QUEUED and before.status is not Status.QUEUED:
            self._to_ring.append(after)
        return after

    def _join(self, crew: CrewEntry, new: NewTask) -> None:
        """Make a child, or retry it in a new round: queued if there is a place for it, else held."""
        entry, now = self._entries.get(new.task_id), self.now()
        held = not lifecycle.has_place(crew.crew)
        if entry is None:
            self._add(new, submission.made(new, now, held))
            entry = self._entries[new.task_id]
            crew.children.add(new.task_id)
        elif lifecycle.begins_again(entry.task, new):
            entry.values.pop("outputs", None)
            after = lifecycle.retried(entry.task, now, new.attempt, held)
            self._save(entry, self._revise(entry, after, submission.revision_of(new)))
        else:
            return
        if held:
            crew.hold(entry.task)
        else:
            crew.crew = lifecycle.joined(crew.crew)
            self._to_ring.append(entry.task)
