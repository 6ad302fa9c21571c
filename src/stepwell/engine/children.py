"""Steps that run as child tasks: one, or one for each item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stepwell.engine.attempts import Attempts
from stepwell.engine.child_tasks import ChildTasks
from stepwell.engine.crews import BATCH, Crews, Limits, is_to_begin
from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.results import Results
from stepwell.engine.scope import FAILED, Scope
from stepwell.errors import Stop
from stepwell.plan import Node
from stepwell.task import Attempt, Error, NewTask, Status, StepRecord, StepStatus, Task

if TYPE_CHECKING:
    from stepwell.engine.run import Run

LARGE = 4_000_000
"""Characters of output after which items are written though they are few."""


Fails = Callable[[StepRecord, Error], bool]
"""Writes that an item has failed; whether it may."""


@dataclass(frozen=True)
class Item:
    """An item that a child is to do; `scope` is what its expressions see."""

    index: int
    scope: Scope
    record: StepRecord


class Children:
    """Has a step, or each item of one, run as a child task, while this task waits for them.

    Children are told by their ids, which follow from the step: whoever goes on after a crash makes the same ones. What
    has completed in one try of the step is not done again in the next. `shaped` applies the step's `output`.
    """

    def __init__(self, run: Run, attempts: Attempts, shaped: Callable[[Node, Scope, StepRecord, str], str]) -> None:
        self._run, self._store, self._records = run, run.means.store, run.records
        self._attempts, self._tasks, self._crews = attempts, ChildTasks(run), Crews(run)
        self._results = Results(run, shaped)

    async def one(self, node: Node, scope: Scope, record: StepRecord) -> tuple[str, dict[str, Mapping[str, Any]]]:
        """The JSON text of the output, and the files that the child kept; raises `StepFailed`, `Halted`, `Stop`.

        A part tries again by itself; a workflow is tried again from here.
        """
        if record.status is StepStatus.PENDING and record.tries and record.error:
            await self._attempts.pause(node, scope, record, record.error)
        while True:
            child, reason = await self._ended(node, scope, self._records[record.path])
            record = self._records[record.path]
            if child is not None:
                self._results.raise_stop(child)
            if child is not None and child.status is Status.COMPLETED:
                return self._results.output(node, scope, record, child), self._results.files(node, child)
            if child is None or reason is not None:
                raise reason or Halted(FAILED)
            error = self._results.error(record, child)
            record = self._records.write(self._attempts.failed(record, error), wait=None)
            if node.kind != "workflow":
                accepted = node.wait is not None and node.wait.tolerant and error.code == "timeout"
                raise StepFailed(error, tolerated=accepted)
            await self._attempts.pause(node, scope, record, error)

    async def each(
        self, node: Node, around: Scope, record: StepRecord, items: Sequence[Item], limits: Limits, fails: Fails
    ) -> None:
        """Have these items done, and their records say what came of that; raises `Halted` or `StepFailed` if they were
        ended early, and the `Stop` of an action. `fails` writes that an item has failed, and tells whether it may."""
        todo = list(items)
        while todo:
            record = self._records[record.path]
            if is_to_begin(record) and not around.halt:
                await self._rest(node, around, record, todo)
                new = self._made(node, record, todo, fails)
                if new is None:
                    return
                record = await self._crews.begin(around, record, new, self._left(node, items, todo, new, limits))
            reason = await self._crews.over(around, record)
            stop = self._collect(node, record, todo, fails, ended_early=reason is not None)
            if stop is not None or reason is not None:
                raise stop or reason or Halted(FAILED)
            todo = [replace(item, record=self._record(item)) for item in todo if self._is_to_be_tried_again(item)]
            if todo:
                self._records.write(self._records[record.path], wait=None)

    async def _ended(
        self, node: Node, scope: Scope, record: StepRecord
    ) -> tuple[Task | None, Halted | StepFailed | None]:
        """The child, when it has ended, and why it was ended early, if it was; None if it was not made at all."""
        if is_to_begin(record) and not scope.halt:
            new = self._tasks.new(node, scope, record, None, self._crews.next_round(record))
            record = await self._crews.begin(scope, record, [new], Limits(at_once=1, allowed=0, wanted=1))
            begun = Attempt(record.attempts, self._run.now(), self._run.means.worker)
            record = self._records.write(record, history=(*record.history, begun))
        reason = await self._crews.over(scope, record)
        return self._crews.child(self._tasks.id_of(record)), reason

    def _made(self, node: Node, record: StepRecord, items: Sequence[Item], fails: Fails) -> list[NewTask] | None:
        """The children to make; None if an item that failed before its own was made may not fail."""
        new, number = [], self._crews.next_round(record)
        for item in items:
            try:
                new.append(self._tasks.new(node, item.scope, item.record, item.index, number))
            except StepFailed as failure:
                if not fails(item.record, failure.error):
                    return None
        return new

    def _collect(
        self, node: Node, record: StepRecord, items: Sequence[Item], fails: Fails, ended_early: bool
    ) -> Stop | None:
        """Write what came of the children, in commits of a bounded size; the `Stop` of one of them."""
        crew = self._crews.of(record.path)
        closed = ended_early or (crew is not None and crew.closed)
        open_items = {self._tasks.id_of(item.record): item for item in items if not self._record(item).ended}
        stop, written = None, 0
        for child in self._crews.children(record.path):
            item = open_items.get(child.task_id)
            if item is None or not child.ended:
                continue
            if child.status is Status.CANCELLED and child.error is None and closed:
                self._cancelled(self._record(item), child)
            else:
                stop = self._copy(node, item, child, fails) or stop
            output = self._record(item).output
            written += LARGE // BATCH + (len(output) if isinstance(output, str) else 0)
            if written >= LARGE:
                self._run.commit()
                written = 0
        return stop

    def _copy(self, node: Node, item: Item, child: Task, fails: Fails) -> Stop | None:
        try:
            error = self._results.copy(node, item.scope, self._record(item), child)
        except Stop as stop:
            self._run.mark_stopped(item.record.path, stop)
            return stop
        if error is not None and self._retry_at(node, item, error) is None:
            fails(self._record(item), error)
        elif error is not None:
            self._records.write(self._record(item), error=error)
        return None

    def _left(
        self, node: Node, items: Sequence[Item], todo: Sequence[Item], new: Sequence[NewTask], limits: Limits
    ) -> Limits:
        """The limits of the next round. Where items are tried again, no failure of one ends the round."""
        completed = sum(self._record(item).status is StepStatus.COMPLETED for item in items)
        allowed = len(new) if _tries_again(node) else limits.allowed - (len(todo) - len(new))
        return replace(limits, allowed=allowed, wanted=limits.wanted - completed)

    def _retry_at(self, node: Node, item: Item, error: Error) -> float | None:
        """When an item that failed may be tried again; None if it may not."""
        record = self._record(item)
        pause = self._attempts.retry_pause(node, item.scope, record, error) if _tries_again(node) else None
        return None if pause is None else (record.history[-1].completed_at or 0.0) + pause

    def _is_to_be_tried_again(self, item: Item) -> bool:
        record = self._record(item)
        return record.error is not None and not record.ended

    async def _rest(self, node: Node, around: Scope, record: StepRecord, todo: Sequence[Item]) -> None:
        """Wait until all items that are to be tried again may be."""
        failed = [(item, error) for item in todo if (error := self._record(item).error) is not None]
        times = [self._retry_at(node, item, error) or 0.0 for item, error in failed]
        if times:
            await self._run.sleep(max(0.0, max(times) - self._run.now()), around)
            self._run.go_on(around, record)

    def _cancelled(self, record: StepRecord, child: Task) -> None:
        """An item was cancelled as the step was ended; one that had not begun stays as it is."""
        if child.started_at is not None:
            self._records.write(
                record, status=StepStatus.CANCELLED, started_at=child.started_at, completed_at=child.completed_at
            )

    def _record(self, item: Item) -> StepRecord:
        return self._records[item.record.path]


def _tries_again(node: Node) -> bool:
    """Whether a failed item is made again from here: a part tries again by itself."""
    return node.kind == "workflow" and node.retry is not None
