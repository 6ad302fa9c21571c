"""A whole deployment for tests: a Redis, the API, and workers, all real, in one folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.acceptance.serving import ROOT, Server, environment, eventually, start
from tests.programs import Program
from tests.servers import RedisServer

TASKS = "/workflows/tasks"


class Worker(Program):
    """A running `python run_worker.py`."""

    def __init__(self, folder: Path, workdir: Path, **settings: str) -> None:
        super().__init__(folder, environment(**settings))
        self._env = environment(**settings)
        self._workdir = workdir

    def command(self) -> list[str]:
        return ["env", "-C", str(self._workdir), sys.executable, str(ROOT / "run_worker.py")]

    def answers(self) -> bool:
        return "work-horse" in self.log


@dataclass
class Cluster:
    """`redis`, the server `api` and `workers`; `settings` hold for all of them."""

    folder: Path
    redis: RedisServer
    settings: dict[str, str]
    api: Server
    workers: list[Worker] = field(default_factory=list)
    opened: ExitStack = field(default_factory=ExitStack)

    def worker(self, **settings: str) -> Worker:
        """One more worker, once it works."""
        worker = Worker(self.folder / f"worker-{len(self.workers)}", self.folder, **{**self.settings, **settings})
        self.workers.append(self.opened.enter_context(worker))
        return worker

    def submit(self, workflow: str, variables: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Submit a task to the queue; the answer to the request, which must be 202."""
        answer = self.ask(workflow, variables, **more)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, workflow: str, variables: Mapping[str, Any] | None = None, **more: Any) -> httpx.Response:
        """Submit a task, and take what comes: on a machine that is too busy to connect to Redis within 0.2 s the API
        runs the task itself."""
        body = {"variables": dict(variables or {}), **more}
        return self.api.post(f"/workflows/{workflow}/execute?async_execute=true", body)

    def task(self, task_id: str) -> dict[str, Any]:
        """A task's record."""
        found: dict[str, Any] = self.api.get(f"{TASKS}/{task_id}").json()
        return found

    def steps(self, task_id: str) -> list[dict[str, Any]]:
        """A task's steps."""
        found: list[dict[str, Any]] = self.api.get(f"{TASKS}/{task_id}/steps?limit=1000").json()["items"]
        return found

    def tried_twice(self, task_id: str) -> bool:
        """Whether the first step of a task had two attempts."""
        return len(self.steps(task_id)[0]["history"]) == 2

    def until(self, task_id: str, status: str) -> dict[str, Any]:
        """The record of a task once it is in this state."""

        def look() -> dict[str, Any] | None:
            task = self.task(task_id)
            return task if task["status"] == status else None

        return eventually(look)

    def stats(self) -> dict[str, Any]:
        """The queue statistics."""
        found: dict[str, Any] = self.api.get("/workflows/queue/stats").json()
        return found


@contextmanager
def cluster(
    folder: Path, redis: RedisServer, workflows: Mapping[str, str], workers: int = 1, **settings: str
) -> Iterator[Cluster]:
    """A deployment over a Redis that runs; all of it has ended at the end of the `with`."""
    shared = {"QUEUE_ENABLED": "true", "REDIS_URL": redis.url, "MAX_WORKERS": "2", **settings}
    with ExitStack() as opened:
        api = start(folder, workflows, **shared)
        opened.callback(api.close)
        made = Cluster(folder, redis, shared, api, opened=opened)
        for _ in range(workers):
            made.worker()
        yield made
