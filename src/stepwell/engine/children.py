"""Steps that run as child tasks: one, or one for each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepwell.engine.scope import Scope
from stepwell.plan import Node
from stepwell.task import StepRecord

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Children:
    """Has a step, or each item of one, run as a child task, while this task waits for them."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def one(self, node: Node, scope: Scope, record: StepRecord) -> tuple[str, dict[str, Mapping[str, Any]]]:
        """The JSON text of the child's output, and the files that it kept; raises `StepFailed`, `Halted`."""
        raise NotImplementedError
