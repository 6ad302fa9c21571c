"""A claimed task in the store: every write names the claim, and waits for a store that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from stepwell.engine.clock import Clock
from stepwell.engine.telling import Telling
from stepwell.errors import Unavailable
from stepwell.listeners import Listeners
from stepwell.ports import Claim, Commit, Receipt, Suspension, TaskStore
from stepwell.task import Error, Mail, Publications, Status, Task

T = TypeVar("T")

PAGE = 1000
"""Publications that are read in one call."""


class Claimed:
    """The store as one run sees it; methods as in `ports.TaskStore`. Listeners are told of what was written.

    `gives_up` is asked, with the seconds for which the store has not answered, whether to leave the task to others.
    """

    def __init__(
        self, store: TaskStore, claim: Claim, clock: Clock, listeners: Listeners, gives_up: Callable[[float], bool]
    ) -> None:
        self._store, self._clock, self._gives_up = store, clock, gives_up
        self._telling = Telling(listeners, claim.task)
        self._task, self._token = claim.task, claim.token
        self._ahead = claim.now - clock.elapsed()

    def now(self) -> float:
        """The store's time, as of its last answer and the time that passed since: never later than it really is."""
        return self._clock.elapsed() + self._ahead

    def commit(self, commit: Commit) -> Receipt:
        """Write, and see what time it is."""
        receipt = self.stored(lambda: self._store.commit(self._task.task_id, self._token, commit))
        self._ahead = max(self._ahead, receipt.now - self._clock.elapsed())  # the quickest reply tells it best
        self._telling.committed(commit, receipt)
        return receipt

    def flush(self, commit: Commit) -> None:
        """Write what is worth only one try."""
        self._telling.committed(commit, self._store.commit(self._task.task_id, self._token, commit))

    def suspend(self, commit: Commit, suspension: Suspension) -> Task:
        """The run is over until something comes."""
        return self._over(commit, lambda: self._store.suspend(self._task.task_id, self._token, commit, suspension))

    def release(self, commit: Commit, pause: float) -> Task:
        """The run is over: hand the task back."""
        return self._over(commit, lambda: self._store.release(self._task.task_id, self._token, commit, pause))

    def back_off(self, commit: Commit, pause: float, error: Error | None) -> Task:
        """The run is over until the task is retried."""
        return self._over(commit, lambda: self._store.back_off(self._task.task_id, self._token, commit, pause, error))

    def finish(self, commit: Commit, status: Status, outputs: str | None, error: Error | None) -> Task:
        """The task has ended."""
        finish, task_id = self._store.finish, self._task.task_id
        return self._over(commit, lambda: finish(task_id, self._token, commit, status, outputs, error))

    def value(self, key: str) -> str:
        """A value that is stored apart."""
        return self.stored(lambda: self._store.value(self._task.task_id, key))

    def mailbox(self, after: int) -> Sequence[Mail]:
        """Mail that came after the one with this id."""
        return self.stored(lambda: self._store.mailbox(self._task.task_id, after))

    def published(self, topic: str, after: str | None) -> Publications:
        """The next publications with a topic since the task was created."""
        return self.stored(lambda: self._store.published(topic, after, self._task.created_at, PAGE))

    def stored(self, call: Callable[[], T]) -> T:
        """Call the store; while it does not answer, try again: it refuses what comes too late."""
        try:
            return call()
        except Unavailable:
            again = Retrying(
                retry=retry_if_exception_type(Unavailable),
                stop=self._stops,
                wait=wait_exponential(multiplier=0.05, max=1),
                reraise=True,
            )
            return again(call)

    def _over(self, commit: Commit, call: Callable[[], Task]) -> Task:
        task = self.stored(call)
        self._telling.ended(commit, task)
        return task

    def _stops(self, state: RetryCallState) -> bool:
        return self._gives_up(state.seconds_since_start or 0.0)
