"""Workers over one memory store: whatever is queued is run, in order, by an engine of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.unit.engine_harness import Crash, Harness

from stepwell.ids import new_task_id
from stepwell.plan import undoes
from stepwell.ports import TaskFilter
from stepwell.strict_yaml import parse
from stepwell.task import NewTask, Task
from stepwell.values import encode
from stepwell.variables import check
from stepwell.workflow import Workflow, reachable, snapshot


@dataclass
class Cluster:
    """Runs a task with all its children. `runs` counts the runs of each task, `crashes` those that died."""

    harness: Harness
    runs: Counter[str] = field(default_factory=Counter)
    crashes: int = 0

    def create(self, text: str, *others: str, retries: int = 0, timeout: float = 1e9, **variables: Any) -> Task:
        """A queued task of a workflow, which may run the `others`; each has its `id`."""
        known = {str(other.id): other for other in map(_workflow, others)}
        workflow = _workflow(text)
        definition, digest = snapshot(workflow, reachable(workflow, known.__getitem__))
        assert digest == hashlib.sha256(definition.encode()).hexdigest()
        new = NewTask(
            task_id=new_task_id(),
            workflow_id=workflow.id or "test",
            definition=digest,
            definition_text=definition,
            queue="workflow_execute",
            priority=1,
            variables=encode(check(workflow.variables, variables)),
            timeout=timeout,
            max_retries=retries,
            undo=undoes(definition),
            labels={"team": "blue"},
        )
        return self.harness.store.create(new)[0]

    def run(self, text: str, *others: str, retries: int = 0, **variables: Any) -> Task:
        """Run a task to its end."""
        return self.finish(self.create(text, *others, retries=retries, **variables))

    def finish(self, task: Task, until: Callable[[Task], bool] = lambda task: task.ended) -> Task:
        """Work until the task has ended, or is as it is waited for."""
        store = self.harness.store
        while not until(store.get(task.task_id)):
            if not self.work():
                self._pass_time()
        return store.get(task.task_id)

    def finish_all(self, task: Task) -> Task:
        """Work until nothing is left to do."""
        self.finish(task)
        while self.work():
            continue
        return self.harness.store.get(task.task_id)

    def work(self) -> bool:
        """Run what is queued, oldest first, each once; whether there was anything."""
        queued = self.harness.store.queued(older_than=0)
        for task in queued:
            self.run_once(task.task_id)
        return bool(queued)

    def run_once(self, task_id: str) -> None:
        """One run of a task, in a process of its own."""
        self.harness.engine = self.harness.new_engine()
        self.runs[task_id] += 1
        try:
            self.harness.once(task_id)
        except Crash:
            self.crashes += 1
            self.harness.lose()

    def children(self, task: Task, place: str | None = None) -> list[Task]:
        """The children of a task."""
        return list(self.harness.store.list(TaskFilter(parent=task.task_id, place=place), limit=100_000).items)

    def _pass_time(self) -> None:
        store, due = self.harness.store, self.harness.store.due_in()
        assert due is not None, "nothing is queued, and nothing is due"
        self.harness.time.skip(due + 0.1)
        assert store.wake()


def _workflow(text: str) -> Workflow:
    return Workflow.model_validate(parse(text).data)
