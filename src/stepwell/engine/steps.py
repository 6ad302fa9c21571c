"""Lists of steps, and the way of one step from `if` to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stepwell.engine.attempts import Attempts
from stepwell.engine.children import Children
from stepwell.engine.fibers import Mailbox
from stepwell.engine.groups import Groups
from stepwell.engine.loops import Loops
from stepwell.engine.outcomes import Halted, StepFailed, failing_step, graver, halt_after
from stepwell.engine.races import Races
from stepwell.engine.scope import CANCELLED, FAILED, Scope
from stepwell.engine.waits import Waits
from stepwell.engine.workflows import Workflows
from stepwell.errors import StepwellError, Stop
from stepwell.graph import Progress
from stepwell.plan import LEAF_KINDS, Block, Node
from stepwell.task import Error, StepRecord, StepStatus
from stepwell.values import decode

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Steps:
    """The steps of one run."""

    def __init__(self, run: Run) -> None:
        self._run, self._records = run, run.records
        self._attempts = Attempts(run)
        self.workflows = Workflows(run, self.block, self.aside)
        self._groups = Groups(run, self._attempts, self.block, Races(run, self._step), self.workflows)
        self._children = Children(run, self._attempts, self._shaped)
        self._loops = Loops(run, self.once, self._children)
        self._waits = Waits(run)

    async def block(self, block: Block, scope: Scope) -> None:
        """Run a list of steps, each as soon as what it needs has ended.

        After a failure no new step starts, and the running ones are waited for; then it is raised.
        """
        progress, mailbox = Progress(block.graph), Mailbox()
        ready, running = deque(progress.start()), 0
        failure: StepwellError | None = None
        while True:
            while ready:
                index = ready.popleft()
                node = block.nodes[index]
                if not scope.halt or self._records.leads_on(node, scope.path_of(node.name), scope):
                    mailbox.expect(index, self._run.spawn(self._step(node, scope)))
                    running += 1
            if not running:
                break
            index, fiber = await mailbox.next()
            running -= 1
            try:
                fiber.result()
                ready.extend(progress.done(index))
            except StepwellError as error:
                failure = graver(failure, error)
                self._run.halt(scope, halt_after(error))
        if failure is not None:
            raise failure
        if progress.left:
            raise Halted(scope.halt or FAILED)

    async def aside(self, block: Block, path: str, position: str, scope: Scope, error: Error | None) -> Error | None:
        """Run a block like `on_failure`; a failure in it is recorded and answered, a stop ends only this block."""
        names = {"error": error.as_json()} if error else {}
        deadline = self._run.elapsed() + self._run.claim.task.timeout
        inner = Scope(block, path, position, scope, names, deadline=deadline, detached=True)
        try:
            await self.block(block, inner)
        except StepFailed as failure:
            return failure.error
        except Stop:
            return None
        return None

    async def _step(self, node: Node, scope: Scope) -> None:
        """Run one step to its end; raises `StepFailed` unless its failure is tolerated."""
        record = self._records.of(node, scope)
        if not record.ended:
            try:
                await self._body(node, scope, record)
            except StepFailed as failure:
                accepted = failure.tolerated or node.step.on_error == "continue"
                tolerated = accepted and not self._run.out_of_time(scope)
                self._run.fail(record.path, failure.error, tolerated)
            except Halted as halted:
                self._run.mark_halted(record.path, halted)
                raise
            except Stop as stop:
                self._run.mark_stopped(record.path, stop)
                raise
        await self._react(node, scope, self._records[record.path])

    async def _body(self, node: Node, scope: Scope, record: StepRecord) -> None:
        if record.started_at is None and not self._condition(node, scope, record):
            self._records.write(record, status=StepStatus.SKIPPED, completed_at=self._run.now())
        elif node.foreach is not None:
            await self._loops.each(node, node.foreach, scope, record)
        elif node.until is not None:
            await self._loops.again(node, node.until, scope, record)
        else:
            await self.once(node, scope, record)

    def _condition(self, node: Node, scope: Scope, record: StepRecord) -> bool:
        if node.condition is None:
            return True
        with failing_step(node, record.path, "if"):
            return bool(node.condition(self._run.names.of(node, scope, record, "if")))

    async def once(self, node: Node, scope: Scope, record: StepRecord) -> None:
        """Run a step, an item or a round of it one time, with its retries, and write what it gave."""
        inner, output = scope, "null"
        files: dict[str, Mapping[str, Any]] = {}
        if node.queue is not None:
            output, files = await self._children.one(node, scope, record)
        elif node.kind in LEAF_KINDS:
            outcome = await self._attempts.run(node, scope, record)
            output, files = outcome.output, dict(outcome.files)
        elif node.kind == "wait":
            output = await self._waits.run(node, scope, record)
        elif node.kind != "output":
            inner, output = await self._groups.run(node, scope, record)
        now, record = self._run.now(), self._records[record.path]
        self._records.write(
            record,
            status=StepStatus.COMPLETED,
            output=output if node.queue is not None else self._shaped(node, inner, record, output),
            error=None,
            files=files,
            started_at=record.started_at or now,
            completed_at=now,
            history=(*record.history[:-1], replace(record.history[-1], completed_at=now)) if record.history else (),
        )

    def _shaped(self, node: Node, scope: Scope, record: StepRecord, output: str) -> str:
        if node.output is None:
            return output
        with failing_step(node, record.path, "output"):
            names = self._run.names.of(node, scope, record, "output", output=decode(output))
            return self._run.names.encode(node.output(names), f"the output of {record.path}")

    async def _react(self, node: Node, scope: Scope, record: StepRecord) -> None:
        """After a failure: run `on_failure` (what a crash left of it; after a cancel nothing), and raise unless it is
        tolerated.

        A step that stopped the task, or that was cancelled, does so again when the task is resumed.
        """
        self._run.raise_stop(record)
        if record.status is StepStatus.CANCELLED:
            raise Halted(scope.halt or FAILED)
        if record.status is not StepStatus.FAILED or record.error is None:
            return
        if node.on_failure is not None and scope.halt != CANCELLED:
            await self.aside(node.on_failure, f"{record.path}/on_failure", f"{record.position}.f", scope, record.error)
        if not record.tolerated:
            raise StepFailed(record.error)
