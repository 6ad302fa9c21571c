"""Children of tasks that ended because their worker was lost: nobody is left who waits for them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from stepwell.errors import NotFound
from stepwell.ports import TaskStore
from stepwell.task import Task


class Survivors:
    """Keeps lost tasks that have ended in mind until all their children are cancelled."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._parents: dict[str, None] = {}

    def left_by(self, lost: Iterable[Task]) -> None:
        """Tasks were taken from a lost worker; those that go on see to their children themselves."""
        self._parents.update((task.task_id, None) for task in lost if task.ended)

    def cancel(self) -> None:
        """Cancel the children. Raises `Unavailable`; the next call goes on where this one ended."""
        for parent in list(self._parents):
            with suppress(NotFound):  # gone with all data
                while self._store.get(parent).ended and self._store.cancel_children(parent):
                    continue  # unless it was retried by hand meanwhile
            del self._parents[parent]
