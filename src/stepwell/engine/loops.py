"""Steps that run many times: `foreach` over items, `until` in rounds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from stepwell.engine.children import Children, Item
from stepwell.engine.crews import Limits
from stepwell.engine.fibers import Mailbox
from stepwell.engine.outcomes import Halted, StepFailed, failing_step, graver, halt_after
from stepwell.engine.scope import FAILED, Scope
from stepwell.errors import StepwellError, Stop
from stepwell.plan import ForeachPlan, Node, UntilPlan
from stepwell.task import Error, StepRecord, StepStatus
from stepwell.values import encode

if TYPE_CHECKING:
    from stepwell.engine.run import Run

MAX_ITEMS = 100_000
"""Items of one `foreach`."""


@dataclass
class Items:
    """A `foreach` that is under way: its items, how many run at once, and how many may fail."""

    values: Sequence[object]
    at_once: int
    allowed: float
    wanted: int
    running: int = 0
    completed: int = 0
    failed: int = 0
    failures: dict[int, dict[str, Any]] = field(default_factory=dict)

    def tolerates(self) -> bool:
        """Count one more failed item; whether that many may fail."""
        self.failed += 1
        return self.failed <= self.allowed

    @property
    def may_fail(self) -> int:
        """How many more items may fail."""
        return len(self.values) if math.isinf(self.allowed) else max(0, math.floor(self.allowed) - self.failed)

    @property
    def listed(self) -> list[dict[str, Any]]:
        """The failures, in item order."""
        return [self.failures[index] for index in sorted(self.failures)]

    @property
    def has_room(self) -> bool:
        """Whether another item may start."""
        return self.running < self.at_once and self.completed < self.wanted


class Loops:
    """Runs a step for each item or round; `once` runs it one time and writes its record."""

    def __init__(
        self, run: Run, once: Callable[[Node, Scope, StepRecord], Awaitable[None]], children: Children
    ) -> None:
        self._run, self._records, self._once, self._children = run, run.records, once, children

    async def each(self, node: Node, plan: ForeachPlan, scope: Scope, record: StepRecord) -> None:
        """Run the step for each item, `max_parallel` at once; the output is the list of theirs, in item order."""
        if record.status is not StepStatus.WAITING:  # else it waits for its children still
            started_at = record.started_at or self._run.now()
            record = self._records.write(record, status=StepStatus.RUNNING, started_at=started_at)
        with failing_step(node, record.path, "foreach"):
            items = _items(plan, self._run.names.of(node, scope, record, "foreach"))
        count = len(items.values)
        record = self._records.write(record, inputs=encode({"items": count}))
        around = Scope(None, record.path, record.position, scope)
        run_all = self._all if node.queue is None else self._spread
        await run_all(node, plan.name, around, record, items)
        texts = [self._run.names.text(self._records.part(node, record, index)) for index in range(count)]
        self._records.write(
            self._records[record.path],
            status=StepStatus.COMPLETED,
            output=self._run.bounded("[" + ",".join(texts) + "]", node, record.path),
            completed_at=self._run.now(),
        )

    async def again(self, node: Node, plan: UntilPlan, scope: Scope, record: StepRecord) -> None:
        """Repeat the step until its condition holds; the output is the last round's."""
        record = self._records.write(record, status=StepStatus.RUNNING, started_at=record.started_at or self._run.now())
        with failing_step(node, record.path, "until"):
            names = self._run.names.of(node, scope, record, "every")
            rounds, pause = plan.max_times(names), 0.0 if plan.every is None else plan.every(names)
        for index in range(rounds):
            inner = Scope(None, record.path, record.position, scope, {"index": index})
            ended = await self._part(node, inner, record, index)
            if self._holds(node, plan, inner, ended):
                output, now = self._run.names.text(ended), self._run.now()
                self._records.write(record, status=StepStatus.COMPLETED, output=output, completed_at=now)
                return
            if index + 1 < rounds:
                await self._run.sleep((ended.completed_at or 0.0) + pause - self._run.now(), scope)
                self._run.go_on(scope, record)
        message = f"`until` did not hold after {rounds} rounds (max_times)"
        raise StepFailed(Error("max_times", message, record.id, record.path, retryable=False))

    async def _all(self, node: Node, name: str, around: Scope, record: StepRecord, items: Items) -> None:
        mailbox, waiting = Mailbox(), deque(enumerate(items.values))
        failure: StepwellError | None = None
        left_out = False
        while True:
            while waiting and items.has_room:
                index, item = waiting.popleft()
                if around.halt and not self._records.leads_on(node, f"{record.path}[{index}]", around):
                    left_out = True
                    continue
                inner = Scope(None, around.path, around.position, around, {name: item, "index": index})
                mailbox.expect(index, self._run.spawn(self._part(node, inner, record, index, items.tolerates)))
                items.running += 1
            if not items.running:
                break
            index, fiber = await mailbox.next()
            items.running -= 1
            self._count(items, index, self._records.part(node, record, index))
            try:
                fiber.result()
            except StepwellError as error:
                failure = graver(failure, error)
                self._run.halt(around, halt_after(error))
        self._records.write(self._records[record.path], failures=items.listed)
        if failure is not None:
            raise failure
        if (waiting or left_out) and items.completed < items.wanted:
            raise Halted(around.halt or FAILED)

    async def _spread(self, node: Node, name: str, around: Scope, record: StepRecord, items: Items) -> None:
        """As `_all`, by child tasks: all are made at once, and what came of them is read when all have ended."""
        parts = [self._records.part(node, record, index) for index in range(len(items.values))]
        items.failed = sum(part.ended and part.error is not None for part in parts)
        wanted = items.wanted - sum(part.status is StepStatus.COMPLETED for part in parts)
        todo = [
            Item(index, Scope(None, around.path, around.position, around, {name: value, "index": index}), parts[index])
            for index, value in enumerate(items.values)
            if not parts[index].ended
        ]
        early: StepwellError | None = None
        if todo and wanted > 0:
            limits = Limits(items.at_once, items.may_fail, wanted)
            try:
                await self._children.each(node, around, record, todo, limits, partial(self._fails, around, items))
            except StepwellError as error:
                early = error
        self._end(items, record, [self._records[part.path] for part in parts], early)

    def _fails(self, around: Scope, items: Items, record: StepRecord, error: Error) -> bool:
        tolerated = items.tolerates() and not self._run.out_of_time(around)
        self._run.fail(record.path, error, tolerated)
        return tolerated

    def _end(self, items: Items, record: StepRecord, parts: Sequence[StepRecord], early: StepwellError | None) -> None:
        """Raise what the items, as they ended, ask for: a stop before a failure before why they were ended `early`."""
        for index, part in enumerate(parts):
            self._count(items, index, part)
        self._records.write(self._records[record.path], failures=items.listed)
        for part in parts:
            self._run.raise_stop(part)
        refused = [part.error for part in parts if part.error is not None and not part.tolerated]
        if refused:
            raise StepFailed(refused[0])
        if early is not None and not (isinstance(early, Halted) and items.completed >= items.wanted):
            raise early
        if items.completed < items.wanted and not all(part.ended for part in parts):
            message = "a child task of it was cancelled before it began"
            raise StepFailed(Error("cancelled", message, record.id, record.path, retryable=False))

    def _count(self, items: Items, index: int, ended: StepRecord) -> None:
        """Note how an item ended, unless it did not come to an end."""
        if ended.error is not None:
            items.failures[index] = {"index": index, "item": items.values[index], "error": ended.error.as_json()}
        elif ended.status is StepStatus.COMPLETED:
            items.completed += 1

    async def _part(
        self, node: Node, scope: Scope, whole: StepRecord, index: int, tolerates: Callable[[], bool] = lambda: False
    ) -> StepRecord:
        """Run one item or round; its record, once it has ended. `tolerates` counts its failure, if it fails."""
        record = self._records.part(node, whole, index)
        if record.ended and record.error is not None:
            tolerates()
        if not record.ended:
            try:
                await self._once(node, scope, record)
            except StepFailed as failure:
                tolerated = (tolerates() or failure.tolerated) and not self._run.out_of_time(scope)
                self._run.fail(record.path, failure.error, tolerated)
            except Halted as halted:
                self._run.mark_halted(record.path, halted)
                raise
            except Stop as stop:
                self._run.mark_stopped(record.path, stop)
                raise
        record = self._records[record.path]
        self._run.raise_stop(record)
        if record.error is not None and not record.tolerated:
            raise StepFailed(record.error)
        return record

    def _holds(self, node: Node, plan: UntilPlan, scope: Scope, ended: StepRecord) -> bool:
        with failing_step(node, ended.path, "until"):
            inner = Scope(node.block, ended.path, ended.position, scope) if node.block else scope
            output = self._run.names.read(ended)
            return bool(plan.condition(self._run.names.of(node, inner, ended, "until", output=output)))


def _items(plan: ForeachPlan, names: Mapping[str, object]) -> Items:
    values = _listed(plan.items(names))
    wanted = len(values) if plan.stop_after is None else plan.stop_after(names)
    return Items(values, max(1, plan.max_parallel(names)), _allowed(plan, names, len(values)), wanted)


def _listed(items: object) -> Sequence[object]:
    if not isinstance(items, list | tuple):
        raise ValueError(f"takes a list, not {type(items).__name__}: of a mapping use `| items` or `| list`")
    if len(items) > MAX_ITEMS:
        raise ValueError(f"{len(items):,} items are more than {MAX_ITEMS:,}")
    return items


def _allowed(plan: ForeachPlan, names: Mapping[str, object], total: int) -> float:
    """How many items may fail."""
    if plan.max_failed is None:
        return float("inf") if plan.tolerant else 0
    share = plan.max_failed(names)
    return total * float(share[:-1]) / 100 if isinstance(share, str) else share
