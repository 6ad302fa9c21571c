"""A store that falls back, over a shared one that fails when it is told to; for its tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from stepwell.errors import NotDelivered, Unavailable
from stepwell.ids import new_task_id
from stepwell.ports import Commit, TaskFilter, TaskStore
from stepwell.stores.fallback import FallbackStore
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask, Task

LEASE = 10.0
NOTHING = Commit()
AWAY = NotDelivered("Redis at test:6379 cannot be reached")
LOST = Unavailable("Redis at test:6379 did not answer in time")


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


class Unreliable:
    """A store whose calls raise `error`: before anything is done, or (`done`) as if the reply was lost."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self.error: Unavailable | None = None
        self.done = False
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            answer = getattr(self.store, name)(*args, **options) if self.error is None or self.done else None
            if self.error is not None:
                raise self.error
            return answer

        return call


class Both:
    """A `FallbackStore`, its two stores, and the clock of all of them."""

    def __init__(self, local: TaskStore, clock: Clock) -> None:
        self.clock = clock
        self.local = local
        self.inner = MemoryStore(clock, LEASE)
        self.shared = Unreliable(self.inner)
        self.store: TaskStore = self.started()

    def started(self) -> FallbackStore:
        """Another one over the same two, as after a restart."""
        return FallbackStore(cast(TaskStore, self.shared), self.local, LEASE, elapsed=self.clock)

    @property
    def fallback(self) -> FallbackStore:
        assert isinstance(self.store, FallbackStore)
        return self.store

    @contextmanager
    def away(self, error: Unavailable = AWAY, done: bool = False) -> Iterator[None]:
        """Inside, the shared store fails."""
        self.shared.error, self.shared.done = error, done
        yield
        self.shared.error = None

    def create_locally(self, **changes: Any) -> Task:
        """A task that is kept on this host."""
        with self.away():
            return self.store.create(new(**changes))[0]

    def create_shared(self, **changes: Any) -> Task:
        """A task in the shared store."""
        return self.store.create(new(**changes))[0]

    def homes(self, task_id: str) -> list[str]:
        """Where a task is really kept."""
        stores: dict[str, TaskStore] = {"shared": self.inner, "local": self.local}
        return [name for name, store in stores.items() if task_id in ids(store.list(TaskFilter(), 1000).items)]


def new(**changes: Any) -> NewTask:
    base = NewTask(new_task_id(), "orders", "hash-1", "steps: []", "line", 1, '{"a":1}', timeout=60, max_retries=3)
    return replace(base, **changes)


def ids(tasks: Any) -> list[str]:
    return [task.task_id for task in tasks]


def running(both: Both, task: Task, token: str = "A") -> str:
    assert both.store.claim(task.task_id, token, "host:1") is not None
    return task.task_id
