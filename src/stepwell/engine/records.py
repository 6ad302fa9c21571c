"""The step records of a run: what is known of each step, and what the next commit has to write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stepwell.engine.scope import DRAINED, Scope
from stepwell.lifecycle import reset, to_reset
from stepwell.plan import LEAF_KINDS, Node
from stepwell.task import StepRecord, StepStatus


class Records:
    """Records by path; `write` changes one and marks it for the next commit."""

    def __init__(self, records: Iterable[StepRecord]) -> None:
        self.by_path = {record.path: record for record in records}
        self._changed: dict[str, StepRecord] = {}

    def __getitem__(self, path: str) -> StepRecord:
        return self.by_path[path]

    def of(self, node: Node, scope: Scope) -> StepRecord:
        """The record of a step in a scope; a pending one if it has none yet."""
        return self.at(node, scope.path_of(node.name), scope.position_of(node.index))

    def part(self, node: Node, whole: StepRecord, index: int) -> StepRecord:
        """The record of an item or round of a step, at `path[index]`."""
        return self.at(node, f"{whole.path}[{index}]", f"{whole.position}.{index:06d}")

    def leads_on(self, node: Node, path: str, scope: Scope) -> bool:
        """Whether a step of a resumed run is entered though its scope is halted: it holds something that had begun,
        outside of this run or inside the step, and is to be seen to; or it may come before one that does; or it has
        failed, which is how the task ends although it was cancelled afterwards."""
        record = self.by_path.get(path)
        if record is None or record.stopped or scope.halt == DRAINED:
            return False
        if record.ended:
            return record.status is not StepStatus.CANCELLED
        return record.status is not StepStatus.PENDING and (node.queue is not None or node.kind not in LEAF_KINDS)

    def write(self, record: StepRecord, **changes: Any) -> StepRecord:
        """Change fields of a record, and have it written by the next commit."""
        changed = replace(record, **changes) if changes else record
        self.by_path[record.path] = self._changed[record.path] = changed
        return changed

    def withdraw(self, record: StepRecord) -> None:
        """Take back an announcement that the store did not write: the record is again as it was before."""
        self.by_path[record.path] = record

    def take(self) -> tuple[StepRecord, ...]:
        """What changed since the last take."""
        changed, self._changed = tuple(self._changed.values()), {}
        return changed

    def begin_again(self, within: str = "", also: Iterable[str] = ()) -> None:
        """Make what failed, was cancelled or was left running pending again, everywhere or under a path; and all that
        is at these paths `also`, or inside."""
        inside = [record for path, record in self.by_path.items() if path.startswith(within)]
        for path in to_reset(inside, also):
            self.write(reset(self.by_path[path]))

    def cancel_open(self, within: str, now: float) -> None:
        """Mark what has begun and not ended as cancelled, everywhere or under a path: nothing goes on with it."""
        for path, record in list(self.by_path.items()):
            if not record.ended and record.started_at is not None and path.startswith(within):
                self.write(record, status=StepStatus.CANCELLED, completed_at=now)

    def at(self, node: Node, path: str, position: str) -> StepRecord:
        """The record of a step at a path; a pending one if it has none yet. One that is not ended takes the place that
        the step has now: a task that was retried may run on another definition."""
        record = self.by_path.get(path)
        if record is None:
            record = self.by_path[path] = StepRecord(path, position, StepStatus.PENDING, node.kind, node.step.id)
        elif not record.ended and (record.position, record.kind, record.id) != (position, node.kind, node.step.id):
            record = self.by_path[path] = replace(record, position=position, kind=node.kind, id=node.step.id)
        return record


def last_completed(record: StepRecord) -> int:
    """The number of the last attempt that completed, 0 if none has. It grows when a step that had completed is run
    again, by hand or after it was undone: what it does then is another doing, not a repeat."""
    done = (attempt.number for attempt in record.history if attempt.completed_at and attempt.error is None)
    return max(done, default=0)
