"""The feed of a work-horse: the next task of the queues that it serves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from stepwell.errors import Unavailable
from stepwell.ports import Claim, TaskStore
from stepwell.queues.rq import names
from stepwell.queues.rq.scripts import Scripts
from stepwell.redis_client import RedisClient
from stepwell.task import Status, Task


class Taking(Protocol):
    """A store that has the bell inside, and so takes tasks out of the lists by itself."""

    def take(self, token: str, worker: str, queues: Sequence[str]) -> Claim | None:
        """Claim the next task of these queues; None if there is none."""


class Lines:
    """The queues that a work-horse serves, each of them first in its turn."""

    def __init__(self, client: RedisClient, queues: Sequence[str], namespace: str) -> None:
        self._client = client
        self._queues = list(queues)
        self._turns = itertools.count(1)
        self._hints = [names.hints(namespace, queue) for queue in queues]

    def turn(self) -> list[str]:
        """The queues, in another order each time, so that a busy one keeps no other waiting."""
        first = next(self._turns) % len(self._queues)
        return self._queues[first:] + self._queues[:first]

    def wait(self, seconds: float) -> None:
        """Wait until a bell rings for one of them. Raises `Unavailable`."""
        self._client.do("BLPOP", *self._hints, seconds, wait=seconds)


class RqFeed:
    """A `Feed` over a store in the same Redis: one script pops a task and claims it, so that none is lost between."""

    def __init__(
        self, client: RedisClient, store: Taking, queues: Sequence[str], *, namespace: str = names.DEFAULT_NAMESPACE
    ) -> None:
        self._store, self._lines = store, Lines(client, queues, namespace)

    def take(self, token: str, worker: str) -> Claim | None:
        """Claim the next task, by priority, then first in first out; None if there is none now."""
        return self._store.take(token, worker, self._lines.turn())

    def wait(self, seconds: float) -> None:
        """Return when there may be a task to take, at the latest after so many seconds. Raises `Unavailable`."""
        self._lines.wait(seconds)

    def ended(self, task: Task, token: str) -> None:
        """The store told the bell when it wrote the end."""


class RqSqlFeed:
    """A `Feed` over a store elsewhere: pop, then claim there. What is lost between the two is rung for again."""

    def __init__(
        self,
        client: RedisClient,
        store: TaskStore,
        queues: Sequence[str],
        *,
        namespace: str = names.DEFAULT_NAMESPACE,
        result_ttl: float,
        retries: int = 3,
    ) -> None:
        self._client, self._store = client, store
        self._lines = Lines(client, queues, namespace)
        self._scripts = Scripts(namespace, result_ttl, retries)
        self._popped: dict[str, str] = {}
        """By token what was popped for it, while the store has not answered whether it can be claimed."""

    def take(self, token: str, worker: str) -> Claim | None:
        """Claim the next task, by priority, then first in first out; None if there is none now."""
        while (task_id := self._next(token)) is not None:
            claim = self._store.claim(task_id, token, worker)
            del self._popped[token]
            if claim is not None:
                with suppress(Unavailable):  # the claim stands; `ended` makes up for what RQ was not told
                    self._client.run(self._scripts.started, [*_place(claim.task), token, worker])
                return claim
            self._client.run(self._scripts.stale, [task_id])
        return None

    def wait(self, seconds: float) -> None:
        """Return when there may be a task to take, at the latest after so many seconds. Raises `Unavailable`."""
        self._lines.wait(seconds)

    def ended(self, task: Task, token: str) -> None:
        """Tell the bell what became of the task, and ring if it was handed back. Raises `Unavailable`."""
        if task.status is Status.QUEUED:
            self._client.run(self._scripts.ring, _place(task))
        else:
            message = task.error.message if task.error else ""
            self._client.run(self._scripts.ended, [*_place(task), token, task.status, message])

    def _next(self, token: str) -> str | None:
        if token not in self._popped:
            paused = self._store.paused()
            queues = [queue for queue in self._lines.turn() if queue not in paused]
            popped = self._client.run(self._scripts.pop, queues)
            if popped is None:
                return None
            self._popped[token] = popped.decode()
        return self._popped[token]


def _place(task: Task) -> tuple[str, str, int]:
    return task.task_id, task.queue, task.priority
