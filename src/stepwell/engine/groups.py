"""Steps that hold other steps: groups, parallel groups, switches, races and other workflows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from stepwell.engine.attempts import Attempts
from stepwell.engine.outcomes import StepFailed, failing_step
from stepwell.engine.races import Races
from stepwell.engine.scope import Scope
from stepwell.engine.workflows import Workflows
from stepwell.plan import Block, Node
from stepwell.task import Error, StepRecord, StepStatus
from stepwell.values import decode, encode

if TYPE_CHECKING:
    from stepwell.engine.run import Run


class Groups:
    """Runs what is inside a step; `block` runs a list of steps, `races` the racers of a race, `workflows` another
    workflow."""

    def __init__(
        self,
        run: Run,
        attempts: Attempts,
        block: Callable[[Block, Scope], Awaitable[None]],
        races: Races,
        workflows: Workflows,
    ) -> None:
        self._run, self._records, self._attempts = run, run.records, attempts
        self._block, self._races, self._workflows = block, races, workflows

    async def run(self, node: Node, scope: Scope, record: StepRecord) -> tuple[Scope, str]:
        """The inner scope and the JSON text of the output. A retry goes on from what failed inside.

        A group that was left running, by a lost worker or for a wait inside it, goes on within the same try; one that
        was left in the pause before a retry waits for the rest of it.
        """
        resumed = record.status is StepStatus.RUNNING
        if not resumed and record.tries and record.error:
            await self._before_retry(node, scope, record, record.error)
        while True:
            record = self._records.write(
                self._records[record.path],
                status=StepStatus.RUNNING,
                started_at=record.started_at or self._run.now(),
                tries=record.tries + (not resumed),
                error=None,
                completed_at=None,
                winner=record.winner if resumed else None,
                ran_before=record.ran_before if resumed else self._run.ran,
            )
            try:
                return await self._once(node, scope, record)
            except StepFailed as failure:
                error, now = failure.error, self._run.now()
            record = self._records.write(
                self._records[record.path], status=StepStatus.PENDING, error=error, completed_at=now
            )
            resumed = False
            await self._before_retry(node, scope, record, error)

    async def _before_retry(self, node: Node, scope: Scope, record: StepRecord, error: Error) -> None:
        await self._attempts.pause(node, scope, record, error)
        also = self._workflows.finals(node, record) if node.kind == "workflow" else ()
        self._records.begin_again(f"{record.path}/", also)

    async def _once(self, node: Node, scope: Scope, record: StepRecord) -> tuple[Scope, str]:
        with failing_step(node, record.path, "timeout"):
            limit = None if node.timeout is None else node.timeout(self._run.names.of(node, scope, record, "timeout"))
        ran_before = self._run.ran if record.ran_before is None else record.ran_before
        deadline = None if limit is None else self._run.deadline(limit, ran_before)
        if node.kind == "workflow":
            return scope, await self._workflows.run(node, scope, record, deadline)
        block = node.block if node.kind != "switch" else self._case(node, scope, record)
        inner = Scope(block, record.path, record.position, scope, deadline=deadline)
        if block is None:
            return inner, "null"
        if node.kind == "race":
            return inner, await self._races.run(block, inner)
        await self._block(block, inner)
        return inner, self._output(node, block, inner)

    def _output(self, node: Node, block: Block, inner: Scope) -> str:
        """Of a parallel group a mapping by id, of the others the last step's output."""
        texts = [self._run.names.text(self._records[inner.path_of(child.name)]) for child in block.nodes]
        if node.kind != "parallel":
            return texts[-1]
        parts = [f"{encode(child.name)}:{text}" for child, text in zip(block.nodes, texts, strict=True)]
        return self._run.bounded("{" + ",".join(parts) + "}", node, inner.path)

    def _case(self, node: Node, scope: Scope, record: StepRecord) -> Block | None:
        """The case that holds; once chosen it is kept in the record's inputs, so that a resume takes the same."""
        if record.inputs is None:
            with failing_step(node, record.path, "switch"):
                names = self._run.names.of(node, scope, record, "switch")
                held = (n for n, (condition, _) in enumerate(node.cases) if condition is None or condition(names))
                record = self._records.write(record, inputs=encode({"case": next(held, None)}))
        chosen = decode(record.inputs or "null")["case"]
        return None if chosen is None else node.cases[chosen][1]
