"""What came of child tasks, as the records of their parent show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stepwell.engine.outcomes import StepFailed
from stepwell.engine.scope import STOPPED, Scope
from stepwell.errors import Stop
from stepwell.plan import Block, Node
from stepwell.task import Apart, Attempt, Error, Status, StepRecord, StepStatus, Task

if TYPE_CHECKING:
    from stepwell.engine.run import Run

Files = dict[str, Mapping[str, Any]]


class Results:
    """Reads what came of children; `shaped` applies the step's `output`."""

    def __init__(self, run: Run, shaped: Callable[[Node, Scope, StepRecord, str], str]) -> None:
        self._run, self._store, self._shaped = run, run.means.store, shaped

    def copy(self, node: Node, scope: Scope, record: StepRecord, child: Task) -> Error | None:
        """Have the record of an item say what its child gave; or the error, if that failed. Raises the `Stop` of an
        action in it."""
        self.raise_stop(child)
        if record.error is not None and record.attempts == child.attempt:  # this is known already
            return record.error
        error = None if child.status is Status.COMPLETED else self.error(record, child)
        begun = Attempt(child.attempt, child.started_at or child.created_at, child.worker or "", child.completed_at)
        record = self._run.records.write(
            record,
            attempts=child.attempt,
            tries=record.tries + 1,
            started_at=child.started_at,
            history=(*record.history, replace(begun, error=error)),
        )
        if error is not None:
            return error
        try:
            output, files = self.output(node, scope, record, child), self.files(node, child)
        except StepFailed as failure:
            return failure.error
        self._run.records.write(
            record, status=StepStatus.COMPLETED, error=None, output=output, files=files, completed_at=child.completed_at
        )
        return None

    def output(self, node: Node, scope: Scope, record: StepRecord, child: Task) -> str:
        """The JSON text of what a child gave, as the step shapes it; a part has shaped it itself."""
        stored = child.outputs or "null"
        text = (
            self._run.stored(partial(self._store.value, child.task_id, "outputs"))
            if isinstance(stored, Apart)
            else stored
        )
        return text if child.part else self._shaped(node, scope, record, text)

    def files(self, node: Node, child: Task) -> Files:
        """The files that steps of a child kept. Raises `StepFailed` if two steps kept different ones of one name."""
        kept: Files = {}
        if not self._keeps_files(node):
            return kept
        for record in self._run.stored(partial(self._store.steps, child.task_id)).items:
            for name, about in record.files.items():
                if kept.setdefault(name, about) != about:
                    message = f"two of the files that it kept are called {name!r}: give them different names"
                    raise StepFailed(Error("files", message, node.step.id, record.path, retryable=False))
        return kept

    def raise_stop(self, child: Task) -> None:
        """Raise the `Stop` of an action in a part, which ends the task that it is part of."""
        if child.part and child.error is not None and child.error.code == STOPPED:
            raise Stop(child.error.message, status=str(child.status))

    def error(self, record: StepRecord, child: Task) -> Error:
        """Why a child did not complete: an error in another workflow is told with its path in this task."""
        if child.error is None:
            message = f"its child task {child.task_id} was cancelled"
            return Error("cancelled", message, record.id, record.path, retryable=False)
        inner = child.error.path if child.part or child.error.path is None else f"{record.path}/{child.error.path}"
        step = child.error.step if child.error.path else record.id
        return replace(child.error, step=step, path=inner or record.path)

    def _keeps_files(self, node: Node) -> bool:
        if node.step.files:
            return True
        blocks = [node.block, *(block for _, block in node.cases)]
        return node.kind == "workflow" or any(map(self._any_keeps, filter(None, blocks)))

    def _any_keeps(self, block: Block) -> bool:
        return any(map(self._keeps_files, block.nodes))
