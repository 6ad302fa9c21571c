"""What is asked of the store to make a child task: of a workflow of its own, or of a part of this one."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from stepwell import variables
from stepwell.engine.outcomes import failing_step
from stepwell.engine.parts import told
from stepwell.engine.records import last_completed
from stepwell.engine.scope import Scope
from stepwell.engine.workflows import DEEPEST, given, included, time_limit, too_deep
from stepwell.errors import Fail, SettingsError, did_you_mean
from stepwell.ids import derived_task_id
from stepwell.plan import Node, bundle_of, undoes, undoes_inside
from stepwell.task import NewTask, StepRecord
from stepwell.values import encode

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class ChildTasks:
    """Says what child tasks are made of, for one run."""

    def __init__(self, run: Run) -> None:
        self._run, self._task = run, run.claim.task
        self._bundle = lru_cache(partial(bundle_of, plan=run.plan))

    def id_of(self, record: StepRecord) -> str:
        """The id of the child that a step or item is left to. It stays the same until that has completed: what is run
        again after it, by hand or as it was undone, is another child's."""
        return derived_task_id(f"{self._task.task_id}/{record.path}/{last_completed(record)}", self._task.created_at)

    def new(self, node: Node, scope: Scope, record: StepRecord, index: int | None, number: int) -> NewTask:
        """The child for a step, or with `index` for an item of it, in the round with this number. Raises `StepFailed`
        where something does not fit."""
        task, names = self._task, self._run.names.of(node, scope, record, "queue")
        if len(task.ancestors) >= DEEPEST:
            raise too_deep(record, self._chain(node))
        with failing_step(node, record.path, "queue"):
            queue = self._served(node.queue(names)) if node.queue else task.queue
        with failing_step(node, record.path, "priority"):
            priority = node.priority(names) if node.priority else task.priority
        child = NewTask(
            task_id=self.id_of(record),
            workflow_id=task.workflow_id,
            definition=task.definition,
            definition_text=self._run.claim.definition_text,
            queue=queue,
            priority=priority,
            variables="{}",
            timeout=task.timeout,
            max_retries=0,
            labels=task.labels,
            trigger={"kind": "parent", "task_id": task.task_id, "path": record.path},
            ancestors=(*task.ancestors, task.task_id),
            place=record.path if index is None else record.path.removesuffix(f"[{index}]"),
            index=index,
            undoing=self._run.undoing,
            attempt=number,
        )
        if node.kind == "workflow":
            return self._of_workflow(node, scope, record, child)
        names_told = told(self._run, node, scope, record)
        return replace(child, part=True, variables=names_told, undo=undoes_inside(node))

    def _served(self, queue: str) -> str:
        """The queue. Raises `Fail` if no worker takes tasks from it: the child would wait for ever."""
        queues = self._run.means.queues
        if queues is None or queue in queues:
            return queue
        message = f"unknown queue {queue!r}{did_you_mean(queue, queues)}: QUEUES lists those that are served"
        raise Fail(message, code="invalid", retryable=False)

    def _of_workflow(self, node: Node, scope: Scope, record: StepRecord, child: NewTask) -> NewTask:
        plan, values = included(self._run, node), given(self._run, node, scope, record)
        with failing_step(node, record.path, "with"):
            encrypted = variables.replace_secrets(plan.workflow.variables, values, self._encrypted)
            kept = encode(encrypted, "the variables")
        with failing_step(node, record.path, "timeout"):
            own = node.timeout(self._run.names.of(node, scope, record, "timeout")) if node.timeout else None
        limits = [limit for limit in (own, time_limit(node, plan, record, values)) if limit is not None]
        text, digest = self._bundle(str(node.step.workflow))
        return replace(
            child,
            workflow_id=str(node.step.workflow),
            definition=digest,
            definition_text=text,
            variables=kept,
            timeout=min(limits, default=child.timeout),
            undo=undoes(text),
            labels={**plan.workflow.labels, **child.labels},
        )

    def _encrypted(self, text: str) -> str:
        try:
            return self._run.means.cipher.encrypt(text)
        except SettingsError as error:
            raise Fail(str(error), code="invalid", retryable=False) from error

    def _chain(self, node: Node) -> list[str]:
        """The workflows of the tasks around a child that is too deep."""
        get = self._run.means.store.get
        above = [self._run.stored(partial(get, task_id)).workflow_id for task_id in self._task.ancestors]
        return [*above, self._task.workflow_id, str(node.step.workflow or node.name)]
