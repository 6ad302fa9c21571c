"""Other workflows, as steps of this task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from stepwell.engine.scope import Scope
from stepwell.plan import Block, Node
from stepwell.task import Error, StepRecord

if TYPE_CHECKING:
    from stepwell.engine.attempts import Attempts
    from stepwell.engine.run import Run


class Workflows:
    """Runs another workflow inside this task; `block` runs a list of steps, `aside` one of its final blocks."""

    def __init__(
        self,
        run: Run,
        attempts: Attempts,
        block: Callable[[Block, Scope], Awaitable[None]],
        aside: Callable[[Block, str, str, Scope, Error | None], Awaitable[Error | None]],
    ) -> None:
        self._run, self._attempts, self._block, self._aside = run, attempts, block, aside

    async def run(self, node: Node, scope: Scope, record: StepRecord) -> tuple[Scope, str]:
        """The scope of the other workflow and the JSON text of its outputs."""
        raise NotImplementedError
