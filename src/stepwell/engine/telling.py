"""Tells the listeners of this process what a run has written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stepwell.lifecycle import allowed, step_event, task_events
from stepwell.listeners import Listeners, Told
from stepwell.ports import Commit, Receipt
from stepwell.task import NewEvent, Status, Task


class Telling:
    """For one run of a task. Nothing is told before the store has it; after a crash in between, nobody is told."""

    def __init__(self, listeners: Listeners, task: Task) -> None:
        self._listeners, self._task = listeners, task
        self._moved(replace(task, status=Status.QUEUED), task)

    def committed(self, commit: Commit, receipt: Receipt) -> None:
        """These records and events were written, as far as a cancel allowed it."""
        if self._listeners:
            written = allowed(commit.steps, receipt.cancelled, commit.undoing)
            found = (step_event(record) for record in written)
            self._tell([*(event for event in found if event is not None), *commit.events], receipt.now)

    def ended(self, commit: Commit, task: Task) -> None:
        """The run is over, and this is what became of the task."""
        self.committed(commit, Receipt(task.updated_at))
        self._moved(self._task, task)

    def _moved(self, before: Task, after: Task) -> None:
        if self._listeners:
            self._tell(task_events(before, after), after.updated_at)

    def _tell(self, events: Iterable[NewEvent], now: float) -> None:
        for event in events:
            task = self._task
            self._listeners.tell(Told(event.kind, task.task_id, task.workflow_id, now, event.path, event.data))
