"""How a step can end other than by completing: as errors that its fibers raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stepwell.engine.scope import DRAINED, FAILED, STOPPED
from stepwell.errors import ExpressionError, Fail, NotFound, StepwellError, Stop
from stepwell.plan import Node
from stepwell.task import Error


class StepFailed(StepwellError):
    """A step failed for good, and nothing inside it tolerated that; `tolerated`: the step itself is to go on."""

    def __init__(self, error: Error, tolerated: bool = False) -> None:
        self.error, self.tolerated = error, tolerated
        super().__init__(error.message)


class Halted(StepwellError):
    """A step was not begun, or not gone on with, because its scope was halted for this `reason`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def graver(first: StepwellError | None, second: StepwellError) -> StepwellError:
    """Of two reasons why a list of steps ended early: the first that is more than a halt."""
    return second if first is None or isinstance(first, Halted) else first


def halt_after(error: StepwellError) -> str:
    """Why no further step of a list starts once one has ended like this. A list that was drained stays so: what is left
    of it goes on elsewhere, and must not be taken for cancelled."""
    if isinstance(error, Halted) and error.reason == DRAINED:
        return DRAINED
    return STOPPED if isinstance(error, Stop) else FAILED


@contextmanager
def failing_step(node: Node, path: str, key: str) -> Iterator[None]:
    """A key of a step whose expression fails, or whose value does not fit, fails the step."""
    try:
        yield
    except (ExpressionError, NotFound, ValueError) as error:
        raise StepFailed(Error("expression", f"{key}: {error}", node.step.id, path, retryable=False)) from error
    except Fail as fail:
        raise StepFailed(Error(fail.code, fail.message, node.step.id, path, retryable=False)) from fail
