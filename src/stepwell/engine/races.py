"""Races: the first of several steps to complete wins, the others are cancelled."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from stepwell.engine.fibers import Mailbox, Promise
from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.scope import CANCELLED, DRAINED, STOPPED, Scope
from stepwell.errors import StepwellError, Stop
from stepwell.plan import Block, Node
from stepwell.task import StepStatus

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Races:
    """Runs the racers of a step; `step` runs one of them."""

    def __init__(self, run: Run, step: Callable[[Node, Scope], Coroutine[Promise[Any], None, None]]) -> None:
        self._run, self._records, self._step = run, run.records, step

    async def run(self, block: Block, scope: Scope) -> str:
        """The JSON text of the winner's output; `null` if all were skipped. Raises the last failure if none won.

        Who has won stands in the record: a race that goes on after a crash has the same winner.
        """
        lanes = [Scope(None, scope.path, scope.position, scope) for _ in block.nodes]
        mailbox = Mailbox()
        failure: StepwellError | None = None
        was_decided = self._records[scope.path].winner is not None
        self._end_lost(block, lanes, scope)
        for index, racer in enumerate(block.nodes):
            mailbox.expect(index, self._run.spawn(self._step(racer, lanes[index])))
        for _ in block.nodes:
            index, fiber = await mailbox.next()
            try:
                fiber.result()
                self._arrived(block.nodes[index], scope)
            except StepwellError as error:
                failure = _later(failure, error)
            self._end_lost(block, lanes, scope, stopped=isinstance(failure, Stop))
        if failure is not None and _is_final(failure):
            raise failure
        if was_decided:  # what was inside a racer that lost has not been begun again, so nothing in it knows
            self._records.cancel_open(f"{scope.path}/", self._run.now())
        return self._result(scope, failure)

    def _arrived(self, racer: Node, scope: Scope) -> None:
        """A racer has come to an end: it wins if it completed and none had before. Raises if it failed after all."""
        record, race = self._records[scope.path_of(racer.name)], self._records[scope.path]
        if record.error is not None:
            raise StepFailed(record.error)
        if record.status is StepStatus.COMPLETED and race.winner is None:
            self._records.write(race, winner=racer.name)

    def _end_lost(self, block: Block, lanes: list[Scope], scope: Scope, stopped: bool = False) -> None:
        """Cancel those that cannot win any more; when one has stopped the task, start nothing more in any."""
        winner = self._records[scope.path].winner
        for racer, lane in zip(block.nodes, lanes, strict=True):
            if stopped or winner not in (None, racer.name):
                self._run.halt(lane, STOPPED if stopped else CANCELLED)

    def _result(self, scope: Scope, failure: StepwellError | None) -> str:
        winner = self._records[scope.path].winner
        if winner is not None:
            return self._run.names.text(self._records[scope.path_of(winner)])
        if failure is not None:
            raise failure
        return "null"


def _later(first: StepwellError | None, second: StepwellError) -> StepwellError:
    """Of two reasons why nobody has won: one that ends the race whoever wins, else a failure, the later one."""
    if first is None or _is_final(second):
        return second
    return first if _is_final(first) or isinstance(second, Halted) else second


def _is_final(failure: StepwellError) -> bool:
    """Whether it is a stop, or the run is handed back: then it does not matter who has won."""
    return isinstance(failure, Stop) or (isinstance(failure, Halted) and failure.reason == DRAINED)
