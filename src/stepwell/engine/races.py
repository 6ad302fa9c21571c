"""Races: the first of several steps to complete wins, the others are cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from stepwell.engine.scope import Scope
from stepwell.plan import Node
from stepwell.task import StepRecord

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Races:
    """Runs the racers of a step; `step` runs one of them."""

    def __init__(self, run: Run, step: Callable[[Node, Scope], Awaitable[None]]) -> None:
        self._run, self._step = run, step

    async def run(self, node: Node, scope: Scope, record: StepRecord) -> tuple[Scope, str]:
        """The inner scope and the JSON text of the winner's output."""
        raise NotImplementedError
