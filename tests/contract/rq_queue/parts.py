"""A store with its queue and the feeds of work-horses, as a deployment has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq import Queue as RqLine
from tests.contract.building import new
from tests.contract.rq_queue.bells import HORSE

from stepwell.ports import Claim, Feed, TaskStore
from stepwell.queues.rq import RqQueue
from stepwell.task import Task

QUEUES = ("line", "other")


@dataclass
class Parts:
    """A store with its queue, and feeds for work-horses."""

    store: TaskStore
    queue: RqQueue
    feed: Callable[..., Feed]

    def submit(self, *task_ids: str, priority: int = 1, queue: str = "line", **changes: Any) -> list[Task]:
        """As the service does."""
        tasks = []
        for task_id in task_ids:
            task, _ = self.store.create(new(task_id, priority=priority, queue=queue, **changes))
            self.queue.ring(task)
            tasks.append(task)
        return tasks

    def taken(self, most: int = 100, feed: Feed | None = None) -> list[str]:
        """The ids of the tasks that a work-horse gets, one after the other."""
        feed = feed or self.feed()
        claims = iter(lambda: feed.take(f"token-{time.monotonic_ns()}", HORSE), None)
        return [claim.task.task_id for _, claim in zip(range(most), claims, strict=False)]

    def take(self) -> Claim:
        claim = self.feed().take("token", HORSE)
        assert claim is not None
        return claim

    def cancel(self, task_id: str) -> None:
        """As the service does."""
        self.store.cancel(task_id)
        self.queue.remove(task_id)


def waiting(redis: Redis, line: str = "line") -> list[str]:
    return RqLine(line, redis).job_ids
