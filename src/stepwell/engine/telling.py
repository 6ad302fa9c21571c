"""Tells the listeners of this process what a run has written."""

from __future__ import annotations

from collections.abc import Iterable

from stepwell.lifecycle import step_event, task_events
from stepwell.listeners import Listeners, Told
from stepwell.ports import Commit
from stepwell.task import NewEvent, Task


class Telling:
    """For one task. Nothing is told before the store has it; after a crash in between, nobody is told."""

    def __init__(self, listeners: Listeners, task: Task) -> None:
        self._listeners, self._task = listeners, task

    def committed(self, commit: Commit, now: float) -> None:
        """These records and events were written."""
        if self._listeners:
            found = (step_event(record) for record in commit.steps)
            self._tell([*(event for event in found if event is not None), *commit.events], now)

    def moved(self, before: Task, after: Task) -> None:
        """The task went from one record to the other."""
        if self._listeners:
            self._tell(task_events(before, after), after.updated_at)

    def _tell(self, events: Iterable[NewEvent], now: float) -> None:
        for event in events:
            task = self._task
            self._listeners.tell(Told(event.kind, task.task_id, task.workflow_id, now, event.path, event.data))
