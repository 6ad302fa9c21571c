"""An attempt as it is about to start: what the action is given, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from stepwell.engine.attempt import Attempt, TimeLimit
from stepwell.engine.context import StepContext
from stepwell.engine.journal import Journal
from stepwell.engine.records import last_completed
from stepwell.engine.scope import Scope
from stepwell.engine.workfolder import WorkFolder
from stepwell.plan import Node
from stepwell.task import StepRecord

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Launching:
    """Makes the attempts of one run; `ended` is called for each that has ended, from any thread."""

    def __init__(self, run: Run, journal: Journal, ended: Callable[[Attempt], None]) -> None:
        self._run, self._means, self._journal, self._ended = run, run.means, journal, ended

    def attempt(self, node: Node, scope: Scope, record: StepRecord, inputs: str, limit: float | None) -> Attempt:
        """The attempt that a record announces, with inputs as JSON text and the step's own time limit in seconds."""
        resolve, context = partial(self._means.resolve, node), self._context(node, scope, record)
        return Attempt(resolve, inputs, context, self._limit(scope, limit), self._ended, self._means.interactive)

    def _limit(self, scope: Scope, own: float | None) -> TimeLimit | None:
        left = None if scope.deadline is None else max(0.0, scope.deadline - self._run.elapsed())
        if own is not None and (left is None or own <= left):
            return TimeLimit(own, f"it took longer than its time limit of {own:g} s", own=True)
        message = "the time limit of the task, or of a group around it, was over"
        return None if left is None else TimeLimit(left, message, own=False)

    def _context(self, node: Node, scope: Scope, record: StepRecord) -> StepContext:
        names = self._run.names
        files = names.files(scope, node.step.needs_files or ())
        return StepContext(
            task_id=self._run.task_id,
            step_id=node.step.id,
            path=record.path,
            attempt=record.attempts,
            done_before=last_completed(record),
            secrets=names.secrets(node),
            masker=names.masker,
            journal=self._journal,
            folder=WorkFolder(self._means.files, files, node.step.files or ()),
            publish=self._means.publish,
        )
