"""The bell of RQ rung by hand, as the scripts of a store ring it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from stepwell.queues.rq import bell
from stepwell.redis_client import RedisClient, Script

QUEUE = "workflow_execute"
HORSE = "host.7.beef"
RESULT_TTL = 7 * 86400.0

IDS = [f"018bcfe5-687b-7000-8000-{number:012}" for number in range(10)]
"""Ids of tasks that were created at the same time, in order."""

NEXT = """
local found, queues = {}, {unpack(ARGV, 2)}
for id in bell.next(queues) do
  found[#found + 1] = id
  if #found == tonumber(ARGV[1]) then break end
end
return found
"""


class Bell:
    """Each method is a script with one call of the bell."""

    def __init__(self, client: RedisClient, *, namespace: str = "stepwell", result_ttl: float = RESULT_TTL) -> None:
        self.text = bell(namespace, result_ttl)
        self._client = client

    def ring(self, task_id: str, priority: int = 1, queue: str = QUEUE) -> None:
        self._call("ring", task_id, queue, priority, time.time())

    def next(self, *queues: str, most: int = 1000) -> Sequence[str]:
        found = self._client.run(Script(self.text + NEXT), [most, *(queues or [QUEUE])])
        return [task_id.decode() for task_id in found]

    def started(self, task_id: str, priority: int = 1, worker: str = HORSE) -> None:
        self._call("started", task_id, QUEUE, priority, "token", worker, time.time())

    def ended(self, task_id: str, status: str, message: str = "", priority: int = 1, worker: str = HORSE) -> None:
        self._call("ended", task_id, QUEUE, priority, "token", worker, time.time(), status, message)

    def removed(self, task_id: str, priority: int = 1) -> None:
        self._call("removed", task_id, QUEUE, priority, time.time())

    def forgotten(self, task_id: str, priority: int = 1) -> None:
        self._call("forgotten", task_id, QUEUE, priority)

    def bring(self, task_id: str, status: str) -> None:
        """To this state, by way of those before it."""
        self.ring(task_id)
        if status == "queued":
            return
        assert self.next(most=1) == [task_id]
        self.started(task_id)
        if status != "running":
            self.ended(task_id, status)

    def _call(self, function: str, *args: Any) -> None:
        numbers = ", ".join(f"tonumber(ARGV[{at}]) or ARGV[{at}]" for at in range(1, len(args) + 1))
        self._client.run(Script(f"{self.text} bell.{function}({numbers})"), args)
