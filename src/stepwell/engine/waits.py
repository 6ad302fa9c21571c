"""Steps that wait: for a time, an event, a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.scope import Scope
from stepwell.plan import Node
from stepwell.task import StepRecord

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Waits:
    """Waits as long as it takes, while the task holds nothing."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def run(self, node: Node, scope: Scope, record: StepRecord) -> str:
        """The JSON text of what came; raises `StepFailed` when its time limit is over."""
        raise NotImplementedError
