"""Undo: what `compensate` says of the steps that completed, at any depth, the last one first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from stepwell.engine.outcomes import StepFailed, failing_step
from stepwell.engine.parts import place_of
from stepwell.engine.scope import Scope
from stepwell.engine.steps import Steps
from stepwell.plan import Block, ForeachPlan, Node
from stepwell.task import Error, StepRecord, StepStatus
from stepwell.values import decode

if TYPE_CHECKING:
    from stepwell.engine.run import Run


@dataclass(frozen=True)
class Done:
    """A step that completed and says how it is undone, and the scope that it ran in."""

    compensate: Block
    scope: Scope
    record: StepRecord

    @property
    def order(self) -> tuple[float, str]:
        """Later is greater; a step that ended at the same time as what is inside it ended after that."""
        return self.record.completed_at or 0.0, f"{self.record.position}~"


class Undo:
    """Undoes what a task did that has failed for good, or was cancelled.

    What completed is told by the records alone, so that a later run of the task goes on where an earlier one was.
    """

    def __init__(self, run: Run, steps: Steps) -> None:
        self._run, self._steps = run, steps
        self._records = run.records.by_path
        self._in_included = any(_is_undoable(plan.steps) for plan in run.plan.included.values())

    async def run(self, error: Error) -> None:
        """Run the `compensate` of each step that completed, one after the other; one that fails holds up nothing."""
        for one in sorted(self._all(), key=lambda one: one.order, reverse=True):
            path, position = f"{one.record.path}/compensate", f"{one.record.position}.c"
            await self._steps.aside(one.compensate, path, position, one.scope, error)

    def _all(self) -> Iterator[Done]:
        if not self._run.claim.task.part:
            yield from self._done(self._run.plan.steps, self._run.root)
            return
        try:
            place = place_of(self._run)
        except StepFailed:  # it never ran
            return
        if (record := self._records.get(place.path)) is not None:
            yield from self._once(place.node, place.scope, record)

    def _done(self, block: Block, scope: Scope) -> Iterator[Done]:
        for node in block.nodes:
            record = self._records.get(scope.path_of(node.name))
            if record is None:
                continue
            if node.compensate is not None and record.status is StepStatus.COMPLETED:
                yield Done(node.compensate, scope, record)
            if node.queue is None and record.kind == node.kind and self._may_hold(node):
                yield from self._inside(node, scope, record)

    def _may_hold(self, node: Node) -> bool:
        return (self._in_included and _calls(node)) or any(map(_is_undoable, _blocks(node)))

    def _inside(self, node: Node, scope: Scope, record: StepRecord) -> Iterator[Done]:
        if node.foreach is not None:
            yield from self._items(node, node.foreach, scope, record)
        elif node.until is not None:
            for index, part in self._parts(record):
                yield from self._once(node, Scope(None, record.path, record.position, scope, {"index": index}), part)
        else:
            yield from self._once(node, scope, record)

    def _items(self, node: Node, plan: ForeachPlan, scope: Scope, record: StepRecord) -> Iterator[Done]:
        values = self._values(node, plan, scope, record)
        for index, part in self._parts(record):
            item = {plan.name: values[index]} if index < len(values) else {}
            yield from self._once(
                node, Scope(None, record.path, record.position, scope, {**item, "index": index}), part
            )

    def _values(self, node: Node, plan: ForeachPlan, scope: Scope, record: StepRecord) -> Sequence[object]:
        """The items, as the step saw them; none if they cannot be told any more, which fails what reads them."""
        try:
            with failing_step(node, record.path, "foreach"):
                values = plan.items(self._run.names.of(node, scope, record, "foreach"))
        except StepFailed:
            return ()
        return values if isinstance(values, list | tuple) else ()

    def _parts(self, whole: StepRecord) -> Iterator[tuple[int, StepRecord]]:
        """The items or rounds of a step that were begun."""
        for index in count():
            part = self._records.get(f"{whole.path}[{index}]")
            if part is None:
                return
            yield index, part

    def _once(self, node: Node, scope: Scope, record: StepRecord) -> Iterator[Done]:
        if node.kind == "workflow":
            yield from self._called(node, scope, record)
        elif (block := node.block or _chosen(node, record)) is not None:
            yield from self._done(block, Scope(block, record.path, record.position, scope))

    def _called(self, node: Node, scope: Scope, record: StepRecord) -> Iterator[Done]:
        """What the steps of another workflow did; nothing if it was not begun."""
        try:
            inner = self._steps.workflows.scope(node, scope, record)
        except StepFailed:
            return
        if inner.block is not None:
            yield from self._done(inner.block, inner)


def _chosen(node: Node, record: StepRecord) -> Block | None:
    """The case of a `switch` that was run."""
    case = decode(record.inputs).get("case") if node.cases and record.inputs else None
    return node.cases[case][1] if case is not None and case < len(node.cases) else None


def _blocks(node: Node) -> Iterable[Block]:
    return [block for block in (node.block, *(block for _, block in node.cases)) if block is not None]


def _is_undoable(block: Block) -> bool:
    """Whether a step of a list, or inside one, says how it is undone."""
    return any(node.compensate is not None or any(map(_is_undoable, _blocks(node))) for node in block.nodes)


def _calls(node: Node) -> bool:
    """Whether a step is another workflow, or one inside it is."""
    return node.kind == "workflow" or any(_calls(inner) for block in _blocks(node) for inner in block.nodes)
