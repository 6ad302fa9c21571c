"""Whatever names a task goes to its home: the shared store, or this host's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from stepwell.errors import NotFound, Unavailable
from stepwell.ports import Claim, Commit, Receipt, Revision, Suspension, TaskStore
from stepwell.recent import Recent
from stepwell.stores.fallback.alone import SharedAlone
from stepwell.task import Crew, Error, Event, Mail, NewMail, NewTask, Page, Status, StepRecord, Task

T = TypeVar("T")


LOOK = 5.0
"""Seconds after which a task of this host that waits for an event looks for it, as nobody else wakes it."""


class Homes(SharedAlone):
    """The part of a `TaskStore` that concerns one task."""

    def __init__(self, shared: TaskStore, local: TaskStore) -> None:
        super().__init__(shared)
        self._local = local
        self._homes: Recent[TaskStore] = Recent()

    def is_local(self, task_id: str) -> bool:
        """Whether a task is kept on this host, where no worker elsewhere can run it."""
        home = self._homes.get(task_id)
        if home is None and _has(self._local, task_id):
            home = self._local
            self._homes.put([task_id], home)
        return home is self._local

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """See `TaskStore.claim`."""
        if self.is_local(task_id):
            return self._local.claim(task_id, token, worker)
        claim = self._shared.claim(task_id, token, worker)
        if claim is not None:
            self._homes.put([task_id], self._shared)
        return claim

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        """See `TaskStore.commit`."""
        return self._at_home(task_id, lambda home: home.commit(task_id, token, commit))

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        """See `TaskStore.finish`."""
        return self._at_home(task_id, lambda home: home.finish(task_id, token, commit, status, outputs, error))

    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        """See `TaskStore.back_off`."""
        return self._at_home(task_id, lambda home: home.back_off(task_id, token, commit, pause, error))

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        """See `TaskStore.suspend`; a task of this host that listens for events looks for them from time to time."""

        def wait(home: TaskStore) -> Task:
            looking = home is self._local and suspension.topics
            return home.suspend(task_id, token, commit, self._looking(suspension) if looking else suspension)

        return self._at_home(task_id, wait)

    def send(self, task_id: str, mail: NewMail) -> tuple[Mail, bool]:
        """See `TaskStore.send`."""
        return self._at_home(task_id, lambda home: home.send(task_id, mail))

    def mailbox(self, task_id: str, after: int = 0) -> Sequence[Mail]:
        """See `TaskStore.mailbox`."""
        return self._at_home(task_id, lambda home: home.mailbox(task_id, after))

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        """See `TaskStore.spawn`; children live where their parent does."""
        return self._at_home(task_id, lambda home: home.spawn(task_id, token, path, crew, children))

    def crew(self, task_id: str, path: str) -> Crew:
        """See `TaskStore.crew`."""
        return self._at_home(task_id, lambda home: home.crew(task_id, path))

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        """See `TaskStore.cancel_children`."""
        return self._at_home(task_id, lambda home: home.cancel_children(task_id, path))

    def release(self, task_id: str, token: str, commit: Commit, pause: float = 0.0) -> Task:
        """See `TaskStore.release`."""
        return self._at_home(task_id, lambda home: home.release(task_id, token, commit, pause))

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """See `TaskStore.cancel`."""
        return self._at_home(task_id, lambda home: home.cancel(task_id, force))

    def retry(self, task_id: str, reset: Iterable[str], attempt: int, revision: Revision | None = None) -> Task:
        """See `TaskStore.retry`."""
        paths = list(reset)
        return self._at_home(task_id, lambda home: home.retry(task_id, paths, attempt, revision))

    def discard(self, task_id: str) -> Task:
        """See `TaskStore.discard`."""
        return self._at_home(task_id, lambda home: home.discard(task_id))

    def get(self, task_id: str) -> Task:
        """See `TaskStore.get`."""
        return self._at_home(task_id, lambda home: home.get(task_id))

    def step(self, task_id: str, path: str) -> StepRecord:
        """See `TaskStore.step`."""
        return self._at_home(task_id, lambda home: home.step(task_id, path))

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """See `TaskStore.steps`."""
        return self._at_home(task_id, lambda home: home.steps(task_id, limit, cursor))

    def events(self, task_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See `TaskStore.events`."""
        return self._at_home(task_id, lambda home: home.events(task_id, after, limit))

    def value(self, task_id: str, key: str) -> str:
        """See `TaskStore.value`."""
        return self._at_home(task_id, lambda home: home.value(task_id, key))

    def definition(self, definition: str) -> str:
        """See `TaskStore.definition`."""
        try:
            return self._shared.definition(definition)
        except (NotFound, Unavailable) as error:
            try:
                return self._local.definition(definition)
            except NotFound:
                raise error from None

    def _looking(self, suspension: Suspension) -> Suspension:
        look = self._local.now() + LOOK
        due = look if suspension.due is None else min(look, suspension.due)
        return Suspension(due=due, mail=suspension.mail)

    def _at_home(self, task_id: str, ask: Callable[[TaskStore], T]) -> T:
        home = self._homes.get(task_id)
        if home is not None:
            return ask(home)
        try:
            answer = ask(self._shared)
        except (NotFound, Unavailable):
            if self.is_local(task_id):
                return ask(self._local)
            raise
        self._homes.put([task_id], self._shared)
        return answer


def _has(store: TaskStore, task_id: str) -> bool:
    try:
        store.get(task_id)
    except NotFound:
        return False
    return True
