"""The queue of RQ workers: rings for tasks, and answers what waits and who works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID

from stepwell.ports import WorkerView
from stepwell.queues.rq import names, views
from stepwell.queues.rq.scripts import Scripts
from stepwell.redis_client import RedisClient
from stepwell.task import Status, Task

NEAR_ENDS = 2000
"""In a list that is no longer the place of a task is found; in a longer one it may be estimated."""


class RqQueue:
    """A `Queue` over a store in the same Redis, whose scripts ring by themselves."""

    def __init__(
        self,
        client: RedisClient,
        queues: Sequence[str],
        *,
        namespace: str = names.DEFAULT_NAMESPACE,
        result_ttl: float,
        max_size: int,
        retries: int = 3,
    ) -> None:
        """`queues` are those that are known by name. The store keeps each within `max_size`; here it is only told."""
        self._client, self._queues, self._namespace, self._max_size = client, tuple(queues), namespace, max_size
        self._scripts = Scripts(namespace, result_ttl, retries)

    @contextmanager
    def room(self, count: int = 1) -> Iterator[Self]:  # noqa: ARG002 - the store refuses what is too much
        """There is always room."""
        yield self

    def ring(self, task: Task) -> None:
        """The store did."""

    def remove(self, task_id: str) -> None:
        """The store did."""

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """How many bells wait for each queue and priority; more than tasks, if some rang twice."""
        reply = iter(self._client.run(self._scripts.lengths, []))
        return {names.queue_and_priority(line.decode()): length for line, length in zip(reply, reply, strict=True)}

    def ring_again(self, tasks: Sequence[Task]) -> int:
        """Ring for those of these queued tasks (the oldest first) whose bell was lost; answers for how many."""
        args = [arg for task in reversed(tasks) for arg in (task.task_id, task.queue, task.priority)]
        return int(self._client.run(self._scripts.ring_again, args))

    def ahead(self, task: Task) -> int:
        """How many tasks of its queue will start before this one; an estimate, if many do."""
        if task.status is not Status.QUEUED:
            return 0
        reply = self._client.run(self._scripts.place, [task.task_id, task.queue, task.priority])
        before, length, found, first, last = reply
        if found is not None:
            return int(before + found)
        return int(before + length * _share(task, first, last)) if length > NEAR_ENDS else 0

    def stats(self) -> Mapping[str, Any]:
        """How busy the workers are, by the names of the API."""
        executing, waiting = self._client.run(self._scripts.busyness, self._queues)
        workers = self.workers()
        return {
            "current_processing": executing,
            "queue_size": waiting,
            "max_workers": sum(len(worker.horses) for worker in workers),
            "max_queue_size": self._max_size,
            "is_running": any(worker.state == "running" for worker in workers),
        }

    def workers(self) -> Sequence[WorkerView]:
        """The workers that are alive, by name."""
        return views.alive(self._client, self._namespace)


class RqSqlQueue(RqQueue):
    """A `Queue` over a store elsewhere: it is rung for after each commit."""

    def ring(self, task: Task) -> None:
        """Have a worker run the task; does nothing if it waits already. Raises `Unavailable`."""
        self._client.run(self._scripts.ring, [task.task_id, task.queue, task.priority])

    def remove(self, task_id: str) -> None:
        """Ring no more for a task that was cancelled before it ran. Raises `Unavailable`."""
        self._client.run(self._scripts.remove, [task_id])

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """How many bells wait. Whoever reconciles asks this, so what dead workers left in RQ's registries goes too."""
        self._client.run(self._scripts.bury, self._queues)
        return super().lengths()


def _share(task: Task, first: bytes, last: bytes) -> float:
    """At which share of a line a task stands, by the times in the ids of the first, of itself, and of the last."""
    try:
        start, own, end = (UUID(task_id).int >> 80 for task_id in (first.decode(), task.task_id, last.decode()))
    except ValueError:  # somebody put jobs of his own there
        return 0.5
    return min(1.0, max(0.0, (own - start) / max(1, end - start)))
