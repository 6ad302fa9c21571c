"""How a task ends: its steps; after a failure or a cancel what undoes them, and what the definition says; `finally`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.parts import run_part
from stepwell.engine.scope import DRAINED, Derived
from stepwell.engine.steps import Steps
from stepwell.engine.undo import Undo
from stepwell.errors import ExpressionError, Fail, NotFound, Stop
from stepwell.lifecycle import (
    TASK_RETRY_BACKOFF,
    TASK_RETRY_DELAY,
    TASK_RETRY_MAX_DELAY,
    compensated,
    pause_before,
)
from stepwell.plan import Block
from stepwell.task import Error, Status

if TYPE_CHECKING:
    from stepwell.engine.run import Run


@dataclass(frozen=True)
class Ending:
    """What the store is told when a run is over.

    `queued` hands the task back, `waiting` retries it after `pause` seconds, the others end it.
    """

    status: Status
    outputs: str | None = None
    error: Error | None = None
    pause: float = 0.0


HANDED_BACK = Ending(Status.QUEUED)

CANCEL = Error("cancelled", "the task was cancelled", retryable=False)
"""What `error` is to steps that undo a cancelled task."""


async def main(run: Run, steps: Steps) -> Ending:
    """The whole of a task, as one fiber."""
    if run.is_begun_again:
        run.records.begin_again()
    ending = await _steps(run, steps)
    if ending.status is Status.WAITING or ending is HANDED_BACK:
        return ending
    run.undoing = True
    try:
        return await _afterwards(run, steps, ending)
    except Halted:
        return HANDED_BACK


async def _steps(run: Run, steps: Steps) -> Ending:
    outputs = "null"
    try:
        if run.claim.task.part:
            outputs = await run_part(run, steps)
        else:
            await steps.block(run.plan.steps, run.root)
    except Stop as stop:
        if run.claim.task.part:  # its parent is to hear of that
            return Ending(Status(stop.status), error=Error("stopped", stop.message, retryable=False))
        if stop.status == Status.CANCELLED:
            error = Error("stopped", stop.message, retryable=False) if stop.message else None
            return Ending(Status.CANCELLED, error=error)
    except StepFailed as failure:
        return _failed(run, failure.error)
    except Halted as halted:
        return HANDED_BACK if halted.reason == DRAINED else Ending(Status.CANCELLED)
    return Ending(Status.COMPLETED, outputs=outputs) if run.claim.task.part else _completed(run)


def _completed(run: Run) -> Ending:
    try:
        outputs = run.plan.outputs(run.names.at(run.root, "outputs", run.now()))
        return Ending(Status.COMPLETED, outputs=run.names.encode(outputs, "the outputs"))
    except (ExpressionError, Fail, NotFound) as error:
        message = run.names.masker.mask_text(f"outputs: {error}")
        return Ending(Status.FAILED, error=Error("expression", message, retryable=False))


async def _afterwards(run: Run, steps: Steps, ending: Ending) -> Ending:
    plan = run.plan
    if ending.status is not Status.COMPLETED:
        await Undo(run, steps).run(ending.error or CANCEL)
    if run.claim.task.part:
        return ending
    if ending.status is Status.FAILED:
        await _aside(run, steps, plan.on_failure, "on_failure", "1", ending.error)
    elif ending.status is Status.CANCELLED:
        await _aside(run, steps, plan.on_cancel, "on_cancel", "2", ending.error)
    error = await _aside(run, steps, plan.finally_, "finally", "3", ending.error)
    if error is not None and ending.status is Status.COMPLETED:
        return Ending(Status.FAILED, error=error)
    return ending


async def _aside(
    run: Run, steps: Steps, block: Block | None, path: str, position: str, error: Error | None
) -> Error | None:
    return await steps.aside(block, path, position, run.root, error) if block is not None else None


def _failed(run: Run, error: Error) -> Ending:
    task = run.claim.task
    is_last = not error.retryable or task.retry_count >= task.max_retries or run.out_of_time(run.root)
    if is_last or compensated(run.records.by_path.values()):  # what is undone already is not gone on with
        return Ending(Status.FAILED, error=replace(error, traceback=None))
    run.records.begin_again()
    jitter = Derived(f"{task.task_id}/{task.attempt}", 0).random()
    pause = pause_before(task.retry_count + 1, TASK_RETRY_DELAY, TASK_RETRY_BACKOFF, TASK_RETRY_MAX_DELAY, jitter)
    return Ending(Status.WAITING, error=error, pause=max(pause, error.retry_after or 0.0))
