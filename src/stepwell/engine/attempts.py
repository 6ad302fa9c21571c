"""The attempts of a step that runs user code: inputs, announcement, outcome, retry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stepwell.engine.attempt import Outcome
from stepwell.engine.outcomes import Halted, StepFailed, failing_step
from stepwell.engine.scope import DRAINED, Derived, Scope
from stepwell.lifecycle import pause_before
from stepwell.plan import Node
from stepwell.task import Attempt, Error, StepRecord, StepStatus
from stepwell.values import encode

if TYPE_CHECKING:
    from stepwell.engine.run import Run


KEPT = 25
"""Of a step's attempts so many are kept from the beginning, and so many from the end."""


class Attempts:
    """Tries a step until it succeeds or may not be tried again."""

    def __init__(self, run: Run) -> None:
        self._run, self._records = run, run.records

    async def run(self, node: Node, scope: Scope, record: StepRecord) -> Outcome:
        """The outcome of the attempt that succeeded. Raises `StepFailed`, `Halted`, or the `Stop` of an action."""
        if record.status is StepStatus.RUNNING:
            record = self._crashed(node, record)
        elif record.tries and record.error:
            await self.pause(node, scope, record, record.error)
        while True:
            outcome = await self._one(node, scope, record)
            record = self._records[record.path]
            if outcome.stop is not None:
                self._run.mark_stopped(record.path, outcome.stop, StepStatus.COMPLETED)
                raise outcome.stop
            if outcome.error is None:
                return outcome
            record = self.failed(record, outcome.error)
            if outcome.interrupted and (reason := scope.halt):
                self._interrupted(record, reason)
            await self.pause(node, scope, record, outcome.error)

    def retry_pause(self, node: Node, scope: Scope, record: StepRecord, error: Error) -> float | None:
        """Seconds until a failed step may be tried again; None if it may not."""
        plan = node.retry
        if plan is None or not error.retryable or scope.halt not in (None, DRAINED):
            return None
        with failing_step(node, record.path, "retry"):
            names = self._run.names.of(node, scope, record, f"retry {record.tries}", error=error.as_json())
            if record.tries > plan.max_retries(names):
                return None
            if plan.condition is not None and not plan.condition(names):
                return None
            jitter = Derived(f"{self._run.task_id}/{record.path}/{record.tries}", 0).random() if plan.jitter else None
            pause = pause_before(record.tries, plan.delay(names), plan.backoff, plan.max_delay(names), jitter)
        return max(pause, error.retry_after or 0.0)

    async def _one(self, node: Node, scope: Scope, before: StepRecord) -> Outcome:
        await self._run.slot(node.height)
        try:
            self._run.go_on(scope, before)
            record = replace(before, started_at=before.started_at or self._run.now())  # also what `now()` gives
            with failing_step(node, record.path, "with"):
                names = self._run.names.of(node, scope, record, "with")
                inputs = encode(node.inputs(names), f"the inputs of {record.path}")
                limit = None if node.timeout is None else node.timeout(names)
            announced = self._announced(record, inputs)
            return await self._run.perform(node, scope, before, announced, inputs, limit)
        finally:
            self._run.give_back()

    def _announced(self, record: StepRecord, inputs: str) -> StepRecord:
        number = record.attempts + 1
        return self._records.write(
            record,
            status=StepStatus.RUNNING,
            attempts=number,
            tries=record.tries + 1,
            inputs=self._run.names.shown(inputs),
            error=None,
            history=(*record.history, Attempt(number, self._run.now(), self._run.means.worker)),
        )

    def failed(self, record: StepRecord, error: Error) -> StepRecord:
        """Write that the last attempt has failed; what comes of that is for `pause` to say."""
        last = replace(record.history[-1], completed_at=self._run.now(), error=replace(error, traceback=None))
        history = shortened((*record.history[:-1], last))
        return self._records.write(record, status=StepStatus.PENDING, error=error, history=history)

    def _interrupted(self, record: StepRecord, reason: str) -> None:
        """An attempt that was interrupted because its scope was halted used up no try."""
        error = None if reason == DRAINED else record.error
        self._records.write(record, tries=record.tries - 1, error=error)
        raise Halted(reason)

    def _crashed(self, node: Node, record: StepRecord) -> StepRecord:
        """The worker died during the last attempt: count it apart from retries, or fail if it may run only once."""
        retry = node.step.on_crash == "retry"
        message = "the worker died while the step ran"
        error = Error("worker_lost", message, record.id, record.path, record.attempts, retryable=retry)
        record = self.failed(record, error)
        if not retry:
            raise StepFailed(error)
        return replace(record, tries=record.tries - 1)

    async def pause(self, node: Node, scope: Scope, record: StepRecord, error: Error) -> None:
        """Wait for what is left of the pause before the next retry; raises `StepFailed` if there is to be none, or no
        time for one."""
        pause = self.retry_pause(node, scope, record, error)
        if pause is None:
            raise StepFailed(error)
        failed_at = record.history[-1].completed_at if record.history else record.completed_at
        left = max(0.0, (failed_at or self._run.now()) + pause - self._run.now())
        is_held = not self._run.waiting.is_long(left)  # else the pause may take no running time
        if is_held and scope.deadline is not None and self._run.elapsed() + left >= scope.deadline:
            raise StepFailed(error)
        self._run.go_on(scope, record)
        await self._run.sleep(left, scope)
        if self._run.out_of_time(scope) and not scope.halt:
            raise StepFailed(error)
        self._run.go_on(scope, record)


def shortened(history: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The first attempts and the last ones, so that a record with many retries stays small."""
    return history if len(history) <= 2 * KEPT else (*history[:KEPT], *history[-KEPT:])
