"""Tasks whose process ends all the time: in good order after each write, or by dying after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.acceptance.modes.cases import Act, Seen, seen
from tests.acceptance.serving import PATIENCE

from stepwell.api import views
from stepwell.engine.engine import Engine
from stepwell.engine.leases import Leases
from stepwell.errors import NotFound
from stepwell.ports import Commit, Receipt, Suspension, TaskFilter
from stepwell.service import Submission
from stepwell.settings import Settings
from stepwell.stores.sql import SqlStore
from stepwell.task import Crew, Error, NewTask, Status, StepRecord, Task
from stepwell.wiring import build, make_engine

WORKER = "harsh"

ROUNDS = 150
"""So many times all that is queued is run, at most; a task of the table needs some dozens."""


class Crash(BaseException):
    """The process dies here, as far as the engine can tell."""


class HarshStore(SqlStore):
    """A store in SQLite that calls `written` with the task's id and the step records after each write of its run."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        super().__init__(f"sqlite:///{folder}/harsh.db", clock=clock)
        self.written: Callable[[str, Sequence[StepRecord]], None] = lambda *_: None

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        receipt = super().commit(task_id, token, commit)
        if commit.steps:  # else it is a line of the log, from a thread of its own
            self.written(task_id, commit.steps)
        return receipt

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        task = super().finish(task_id, token, commit, status, outputs, error)
        self.written(task_id, commit.steps)
        return task

    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        task = super().back_off(task_id, token, commit, pause, error)
        self.written(task_id, commit.steps)
        return task

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        task = super().suspend(task_id, token, commit, suspension)
        self.written(task_id, commit.steps)
        return task

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        spawned = super().spawn(task_id, token, path, crew, children)
        self.written(task_id, ())
        return spawned

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        cancelled = super().cancel_children(task_id, path)
        if cancelled:
            self.written(task_id, ())
        return cancelled


class Harsh:
    """A mode in which each engine gets to write once; then another one goes on.

    Without `crashes` it hands the task back; not a second time after the same write, for some are only the first half
    of something, and said again by whoever goes on. With them it dies; not a second time in a row without a
    step that ended in between, for after the third such crash a task is given up.
    """

    def __init__(self, settings: Settings, folder: Path, *, crashes: bool) -> None:
        self.crashes = crashes
        self.ends = 0
        self._said: set[tuple[str, ...]] = set()
        self._skipped = 0.0
        self._store = HarshStore(folder, self._now)
        self._system = build(settings, store=self._store, interactive=True)
        claims = Leases(self._store, settings.lease_seconds)
        means = make_engine(settings, self._store, worker=WORKER).engine._means
        self._means = replace(means, suspend_after=0.0, claims=claims)  # shared, or thousands of threads would be left
        self._engine: Engine | None = None
        self._store.written = self._crash if crashes else self._drain

    def submit(self, workflow: str, variables: Mapping[str, Any]) -> str:
        """Submit a task; its id."""
        return self._system.service.submit(
            self._system.service.catalog.get(workflow), Submission(variables, trigger={"kind": "api"})
        ).task_id

    def find(self, workflow: str) -> str:
        """The id of the only task of a workflow, once there is one."""
        self._system.courier.deliver()
        (task,) = self._system.service.tasks(TaskFilter(workflow_id=workflow)).items
        return task.task_id

    def act(self, task_id: str, act: Act) -> None:
        """Do it."""
        if act.do == "publish":
            self._system.publish(act.name, act.payload)
        elif act.do == "signal":
            self._system.service.signal(task_id, act.name, act.payload)
        else:
            self._system.service.cancel(task_id)

    def until_waits(self, task_id: str, path: str) -> None:
        """Work until a step waits."""
        self._work(task_id, lambda: self._waits(task_id, path))

    def ended(self, task_id: str) -> Seen:
        """What came of a task, once it has ended."""
        service = self._system.service
        self._work(task_id, lambda: service.get(task_id).ended)
        task, now = service.get(task_id), self._now()
        steps = [views.step(service, task, record).model_dump(mode="json") for record in service.steps(task_id).items]
        events = [views.event(event).model_dump(mode="json") for event in service.events(task_id)]
        children = service.tasks(TaskFilter(parent=task_id), limit=1000).items
        return seen(views.task(service, task, now).model_dump(mode="json"), steps, events, len(children))

    def close(self) -> None:
        """Give back what is open."""
        self._system.close()

    def _now(self) -> float:
        return time.time() + self._skipped

    def _waits(self, task_id: str, path: str) -> bool:
        try:
            return self._store.step(task_id, path).status == "waiting"
        except NotFound:
            return False

    def _work(self, root: str, done: Callable[[], bool]) -> None:
        """Run what is queued of a task and its children; when nothing is, and it is not done yet, let time pass."""
        for _ in range(ROUNDS):
            self._system.courier.deliver()
            queued = [one for one in self._store.queued(older_than=0) if root in (one.task_id, *one.ancestors)]
            for task in queued:
                self._run(task.task_id)
            if not queued and done():
                return
            if not queued:
                self._pass_time()
        raise AssertionError(f"it makes no headway: {[(task.place, task.workflow_id) for task in queued]}")

    def _pass_time(self) -> None:
        due = self._store.due_in()
        assert due is not None, "nothing is queued, and nothing is due"
        self._skipped += due + 0.001
        assert self._store.wake()

    def _run(self, task_id: str) -> None:
        """One run of a task, in a process of its own."""
        self._engine, over = Engine(self._means), SimpleQueue[Task | None]()
        try:
            self._engine.run(task_id, over.put)
        except Crash:
            self._store.lose(WORKER)
        over.get(timeout=PATIENCE)

    def _drain(self, task_id: str, records: Sequence[StepRecord]) -> None:
        said = (task_id, *(f"{record.path} {record.status}" for record in records))
        if said not in self._said:
            assert self._engine is not None
            self.ends += 1
            self._said.add(said)
            self._engine.begin_drain()

    def _crash(self, task_id: str, records: Sequence[StepRecord]) -> None:
        if not self._store.get(task_id).crashes:
            self.ends += 1
            raise Crash
