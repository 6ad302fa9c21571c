"""Other workflows, as steps of this task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stepwell import variables
from stepwell.engine.outcomes import Halted, StepFailed, failing_step
from stepwell.engine.scope import CANCELLED, DRAINED, Scope
from stepwell.errors import InvalidInput, Stop
from stepwell.plan import Block, Node, Plan
from stepwell.task import Error, Status, StepRecord
from stepwell.values import seconds

if TYPE_CHECKING:
    from stepwell.engine.run import Run

DEEPEST = 16
"""So deep workflows may run workflows, inside one task, or as tasks of tasks."""


@dataclass(frozen=True)
class End:
    """How the steps of another workflow ended: with the JSON text of its outputs, or for a reason to be raised."""

    status: Status
    output: str = "null"
    reason: StepFailed | Halted | None = None


class Workflows:
    """Runs another workflow inside this task; `block` runs a list of steps, `aside` one of its final blocks."""

    def __init__(
        self,
        run: Run,
        block: Callable[[Block, Scope], Awaitable[None]],
        aside: Callable[[Block, str, str, Scope, Error | None], Awaitable[Error | None]],
    ) -> None:
        self._run, self._block, self._aside = run, block, aside

    async def run(self, node: Node, scope: Scope, record: StepRecord, deadline: float | None) -> str:
        """The JSON text of the other workflow's outputs; `deadline` is that of the step."""
        inner = self.scope(node, scope, record, deadline)
        plan = included(self._run, node)
        end = await self._steps(node, plan, inner)
        error = await self._finally(plan, inner, end)
        if end.reason is not None:
            raise end.reason
        if error is not None:
            raise StepFailed(error)
        return end.output

    def scope(self, node: Node, scope: Scope, record: StepRecord, deadline: float | None = None) -> Scope:
        """The scope of the other workflow's steps, which see its variables and nothing around it. Raises `StepFailed`
        where what it is given does not fit, or workflows are nested too deep."""
        plan = included(self._run, node)
        around = scope.workflows
        if len(around) >= DEEPEST:
            raise too_deep(record, [self._run.claim.task.workflow_id, *around, str(node.step.workflow)])
        values = given(self._run, node, scope, record)
        ran_before = self._run.ran if record.ran_before is None else record.ran_before
        own = time_limit(node, plan, record, values)
        limits = [] if own is None else [self._run.deadline(own, ran_before)]
        limits += [] if deadline is None else [deadline]
        return Scope(
            plan.steps,
            record.path,
            record.position,
            scope,
            {"variables": values},
            deadline=min(limits, default=None),
            sealed=str(node.step.workflow),
        )

    def finals(self, node: Node, record: StepRecord) -> list[str]:
        """Where the lists of steps lie that end the other workflow: each try of the step ends it anew."""
        scope = Scope(None, record.path, record.position, sealed=node.step.workflow)
        return [final.path for _, _, final in finals(included(self._run, node), scope)]

    async def _steps(self, node: Node, plan: Plan, inner: Scope) -> End:
        try:
            await self._block(plan.steps, inner)
        except Stop as stop:
            if stop.status == Status.CANCELLED:
                message = f"it was stopped: {stop.message}" if stop.message else "it was stopped"
                error = Error("cancelled", message, node.step.id, inner.path, retryable=False)
                return End(Status.CANCELLED, reason=StepFailed(error))
        except StepFailed as failure:
            return End(Status.FAILED, reason=failure)
        except Halted as halted:
            if halted.reason == DRAINED:
                raise
            return End(Status.CANCELLED, reason=halted)
        try:
            with failing_step(node, inner.path, "outputs"):
                names = self._run.names.at(inner, f"{inner.path}/outputs", self._run.now())
                output = self._run.names.encode(plan.outputs(names), f"the outputs of {inner.path}")
                return End(Status.COMPLETED, output)
        except StepFailed as failure:
            return End(Status.FAILED, reason=failure)

    async def _finally(self, plan: Plan, inner: Scope, end: End) -> Error | None:
        """Run what the workflow says of its end; the failure of its `finally`, if it fails."""
        error = end.reason.error if isinstance(end.reason, StepFailed) else None
        failed: Error | None = None
        for name, block, place in finals(plan, inner):
            wanted = {"on_failure": Status.FAILED, "on_cancel": Status.CANCELLED}.get(name, end.status)
            if wanted is end.status:
                failed = await self._final(block, place, error)
        return failed

    async def _final(self, block: Block, place: Scope, error: Error | None) -> Error | None:
        """Run one list of final steps: after a cancel too, and again what was refused because one was requested."""
        while True:
            if self._run.root.halt == CANCELLED:
                self._run.undoing = True
            try:
                return await self._aside(block, place.path, place.position, place, error)
            except Halted as halted:
                if halted.reason != CANCELLED or self._run.undoing:
                    raise


def included(run: Run, node: Node) -> Plan:
    """The workflow that a step runs."""
    return run.plan.included[str(node.step.workflow)]


def given(run: Run, node: Node, scope: Scope, record: StepRecord) -> dict[str, Any]:
    """The checked variables of the workflow that a step runs, whose secrets are masked from then on."""
    declared = included(run, node).workflow.variables
    with failing_step(node, record.path, "with"):
        values: Any = node.inputs(run.names.of(node, scope, record, "with"))
    try:
        checked = variables.check(declared, values)
    except InvalidInput as error:
        message = run.names.masker.mask_text(f"with: {error}")
        raise StepFailed(Error("invalid", message, node.step.id, record.path, retryable=False)) from error
    variables.replace_secrets(declared, checked, run.names.masker.add)
    return checked


def time_limit(node: Node, plan: Plan, record: StepRecord, values: dict[str, Any]) -> float | None:
    """Seconds that a workflow may run for, as it says itself; None if it does not say."""
    if plan.timeout is None:
        return None
    with failing_step(node, record.path, "timeout"):
        return seconds(plan.timeout({"variables": values}))


def too_deep(record: StepRecord, chain: list[str]) -> StepFailed:
    """Why a workflow is not run that was to run inside all these."""
    message = f"workflows run workflows more than {DEEPEST} deep: {' > '.join(chain)}"
    return StepFailed(Error("recursion", message, record.id, record.path, retryable=False))


def finals(plan: Plan, scope: Scope) -> Iterator[tuple[str, Block, Scope]]:
    """The lists of steps that end a workflow, in their order, each with its name and a scope at its place.

    Those of a workflow inside the task are called otherwise than the step's own `on_failure`, beside which they lie.
    """
    lists = (("on_failure", plan.on_failure), ("on_cancel", plan.on_cancel), ("finally", plan.finally_))
    for number, (name, block) in enumerate(lists, 1):
        if block is not None:
            path = f"{scope.path}/workflow.{name}" if scope.sealed else name
            position = f"{scope.position}.a{number}" if scope.sealed else str(number)
            yield name, block, Scope(block, path, position, scope, detached=True)
