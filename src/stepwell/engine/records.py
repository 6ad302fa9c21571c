"""The step records of a run: what is known of each step, and what the next commit has to write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stepwell.engine.scope import Scope
from stepwell.lifecycle import reset, to_reset
from stepwell.plan import Node
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
        return self._at(node, scope.path_of(node.name), scope.position_of(node.index))

    def part(self, node: Node, whole: StepRecord, index: int) -> StepRecord:
        """The record of an item or round of a step, at `path[index]`."""
        return self._at(node, f"{whole.path}[{index}]", f"{whole.position}.{index:06d}")

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

    def begin_again(self, within: str = "") -> None:
        """Make what failed, was cancelled or was left running pending again, everywhere or under a path."""
        inside = [record for path, record in self.by_path.items() if path.startswith(within)]
        for path in to_reset(inside):
            self.write(reset(self.by_path[path]))

    def _at(self, node: Node, path: str, position: str) -> StepRecord:
        record = self.by_path.get(path)
        if record is None:
            record = self.by_path[path] = StepRecord(path, position, StepStatus.PENDING, node.kind, node.step.id)
        return record
