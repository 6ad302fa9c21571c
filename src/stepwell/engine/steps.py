"""What a step does, each kind read from top to bottom; the `Run` supplies slots, attempts, pauses and records."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stepwell.engine.attempt import Outcome
from stepwell.engine.fibers import Promise
from stepwell.engine.scope import DRAINED, FAILED, STOPPED, Derived, Scope
from stepwell.errors import ExpressionError, Fail, NotFound, StepwellError, Stop
from stepwell.expressions import Expression
from stepwell.graph import Progress
from stepwell.lifecycle import pause_before
from stepwell.plan import LEAF_KINDS, Block, ForeachPlan, Node
from stepwell.task import Attempt, Error, StepRecord, StepStatus
from stepwell.values import MAX_SIZE, decode, encode

if TYPE_CHECKING:
    from stepwell.engine.run import Run

MAX_ITEMS = 100_000
"""Items of one `foreach`."""


class StepFailed(StepwellError):
    """A step failed for good, and nothing inside it tolerated that."""

    def __init__(self, error: Error) -> None:
        self.error = error
        super().__init__(error.message)


class Halted(StepwellError):
    """A step was not begun, or not gone on with, because its scope was halted for this `reason`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Mailbox:
    """Fibers that ended, in the order they did."""

    def __init__(self) -> None:
        self._ended: deque[tuple[int, Promise[None]]] = deque()
        self._bell: Promise[None] = Promise()

    def expect(self, number: int, fiber: Promise[None]) -> None:
        """Have this fiber delivered when it ends."""
        fiber.when_done(lambda: self._deliver(number, fiber))

    async def next(self) -> tuple[int, Promise[None]]:
        """The next one that ended; waits for it."""
        if not self._ended:
            self._bell = Promise()
            await self._bell
        return self._ended.popleft()

    def _deliver(self, number: int, fiber: Promise[None]) -> None:
        self._ended.append((number, fiber))
        self._bell.keep(None)


class Steps:
    """The steps of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def block(self, block: Block, scope: Scope) -> None:
        """Run a list of steps, each as soon as what it needs has ended.

        After a failure no new step starts, and the running ones are waited for; then it is raised.
        """
        progress, mailbox = Progress(block.graph), Mailbox()
        ready, running = deque(progress.start()), 0
        failure: StepwellError | None = None
        while True:
            while ready and not scope.halt:
                index = ready.popleft()
                mailbox.expect(index, self._run.spawn(self.step(block.nodes[index], scope)))
                running += 1
            if not running:
                break
            index, fiber = await mailbox.next()
            running -= 1
            try:
                fiber.result()
                ready.extend(progress.done(index))
            except StepwellError as error:
                failure = _graver(failure, error)
                self._run.halt(scope, STOPPED if isinstance(error, Stop) else FAILED)
        if failure is not None:
            raise failure
        if progress.left:
            raise Halted(scope.halt or FAILED)

    async def step(self, node: Node, scope: Scope) -> None:
        """Run one step to its end; raises `StepFailed` unless its failure is tolerated."""
        record = self._begin(node, scope)
        if not record.ended:
            try:
                await self._body(node, scope, record)
            except StepFailed as failure:
                self._fail(node, scope, record.path, failure.error)
            except Halted as halted:
                self._halt(record.path, halted)
                raise
        await self._react(node, scope, self._run.records[record.path])

    async def _body(self, node: Node, scope: Scope, record: StepRecord) -> None:
        if record.started_at is None and not self._condition(node, scope, record):
            self._write(record, status=StepStatus.SKIPPED, completed_at=self._run.now())
        elif node.foreach is not None:
            await self._each(node, node.foreach, scope, record)
        elif node.until is not None:
            await self._again(node, scope, record)
        else:
            await self._once(node, scope, record)

    # -- one time: attempts, groups and pure values ----------------------------------------------------------------

    async def _once(self, node: Node, scope: Scope, record: StepRecord) -> None:
        """Run the step, an item or a round of it one time, with its retries, and write what it gave."""
        if node.kind in LEAF_KINDS:
            outcome = await self._attempts(node, scope, record)
            inner, output, files = scope, outcome.output, outcome.files
        else:
            inner, output = await self._group_with_retries(node, scope, record)
            files = {}
        now, record = self._run.now(), self._run.records[record.path]
        if node.output is not None:
            with self._failures(node, record.path, "output"):
                names = self._names(node, inner, record, "output", {"output": decode(output)})
                output = self._run.names.encode(node.output(names), f"the output of {record.path}")
        history = (*record.history[:-1], replace(record.history[-1], completed_at=now)) if record.history else ()
        self._write(
            record,
            status=StepStatus.COMPLETED,
            output=output,
            error=None,
            files=files,
            completed_at=now,
            history=history,
        )

    async def _attempts(self, node: Node, scope: Scope, record: StepRecord) -> Outcome:
        """Attempt it until it succeeds; raises `StepFailed` when it may not be tried again."""
        if record.status is StepStatus.RUNNING:
            record = self._crashed(node, record)
        elif record.tries and record.error:
            await self._pause_before_retry(node, scope, record, record.error)
        while True:
            outcome = await self._attempt(node, scope, record)
            if outcome.stop is not None:
                self._write(self._run.records[record.path], status=StepStatus.COMPLETED, completed_at=self._run.now())
                raise outcome.stop
            if outcome.error is None:
                return outcome
            record = self._attempt_failed(self._run.records[record.path], outcome.error)
            if outcome.error.code == "cancelled" and (reason := scope.halt):
                self._write(record, tries=record.tries - 1)
                raise Halted(reason)
            await self._pause_before_retry(node, scope, record, outcome.error)

    async def _attempt(self, node: Node, scope: Scope, before: StepRecord) -> Outcome:
        await self._run.slot(node.height)
        try:
            self._go_on(scope, before)
            record = replace(before, started_at=before.started_at or self._run.now())  # also what `now()` gives
            with self._failures(node, record.path, "with"):
                names = self._names(node, scope, record, "with")
                inputs = encode(node.inputs(names), f"the inputs of {record.path}")
                limit = None if node.timeout is None else node.timeout(names)
            announced = self._announced(record, inputs)
            return await self._run.perform(node, scope, before, announced, inputs, limit)
        finally:
            self._run.give_back()

    def _announced(self, record: StepRecord, inputs: str) -> StepRecord:
        now, number = self._run.now(), record.attempts + 1
        return self._write(
            record,
            status=StepStatus.RUNNING,
            attempts=number,
            tries=record.tries + 1,
            inputs=self._run.names.shown(inputs),
            error=None,
            history=(*record.history, Attempt(number, now, self._run.means.worker)),
        )

    def _attempt_failed(self, record: StepRecord, error: Error) -> StepRecord:
        now = self._run.now()
        history = (*record.history[:-1], replace(record.history[-1], completed_at=now, error=error))
        return self._write(record, status=StepStatus.PENDING, error=error, history=history)

    def _crashed(self, node: Node, record: StepRecord) -> StepRecord:
        """The worker died during the last attempt: count it apart from retries, or fail if it may run only once."""
        message = "the worker died while the step ran"
        error = Error("worker_lost", message, record.id, record.path, record.attempts, node.step.on_crash == "retry")
        record = self._attempt_failed(record, error)
        if node.step.on_crash == "fail":
            raise StepFailed(error)
        return replace(record, tries=record.tries - 1)

    async def _pause_before_retry(self, node: Node, scope: Scope, record: StepRecord, error: Error) -> None:
        """Wait for what is left of the pause before the next retry; raises `StepFailed` if there is none."""
        pause = self._retry_pause(node, scope, record, error)
        if pause is None:
            raise StepFailed(error)
        since = record.history[-1].completed_at or self._run.now()
        left = max(0.0, since + pause - self._run.now())
        if scope.deadline is not None and self._run.elapsed() + left >= scope.deadline:
            raise StepFailed(error)
        await self._run.sleep(left, scope)
        self._go_on(scope, record)

    def _retry_pause(self, node: Node, scope: Scope, record: StepRecord, error: Error) -> float | None:
        plan = node.retry
        if plan is None or not error.retryable or scope.halt:
            return None
        with self._failures(node, record.path, "retry"):
            names = self._names(node, scope, record, f"retry {record.tries}", {"error": error.as_json()})
            if record.tries > plan.max_retries(names):
                return None
            if plan.condition is not None and not plan.condition(names):
                return None
            jitter = Derived(f"{record.path}/{record.tries}/{self._run.task_id}", 0).random() if plan.jitter else None
            pause = pause_before(record.tries, plan.delay(names), plan.backoff, plan.max_delay(names), jitter)
        return max(pause, error.retry_after or 0.0)

    async def _group_with_retries(self, node: Node, scope: Scope, record: StepRecord) -> tuple[Scope, str]:
        while True:
            tries = record.tries + 1
            record = self._write(
                record, status=StepStatus.RUNNING, started_at=record.started_at or self._run.now(), tries=tries
            )
            try:
                return await self._group(node, scope, record)
            except StepFailed as failure:
                record = self._run.records[record.path]
                pause = self._retry_pause(node, scope, record, failure.error)
                if pause is None:
                    raise
                await self._run.sleep(pause, scope)
                self._go_on(scope, record)
                self._reset_inside(record.path)

    async def _group(self, node: Node, scope: Scope, record: StepRecord) -> tuple[Scope, str]:
        """Run the steps inside; what is inside decides the output: the last step's, or a mapping by id."""
        with self._failures(node, record.path, "timeout"):
            limit = None if node.timeout is None else node.timeout(self._names(node, scope, record, "timeout"))
        block = node.block if node.kind != "switch" else self._case(node, scope, record)
        deadline = None if limit is None else self._run.elapsed() + limit
        inner = Scope(block, record.path, record.position, scope, deadline=deadline)
        if block is None:
            return inner, "null"
        await self.block(block, inner)
        if node.kind != "parallel":
            return inner, self._output(inner, block.nodes[-1])
        parts = [f"{encode(child.name)}:{self._output(inner, child)}" for child in block.nodes]
        return inner, self._bounded("{" + ",".join(parts) + "}", record.path)

    def _case(self, node: Node, scope: Scope, record: StepRecord) -> Block | None:
        """The case that holds; once chosen it is kept in the record's inputs, so that a resume takes the same."""
        if record.inputs is None:
            with self._failures(node, record.path, "switch"):
                names = self._names(node, scope, record, "switch")
                held = (n for n, (condition, _) in enumerate(node.cases) if condition is None or condition(names))
                record = self._write(self._run.records[record.path], inputs=encode({"case": next(held, None)}))
        chosen = decode(record.inputs or "null")["case"]
        return None if chosen is None else node.cases[chosen][1]

    # -- many times: foreach and until ------------------------------------------------------------------------------

    async def _each(self, node: Node, plan: ForeachPlan, scope: Scope, record: StepRecord) -> None:
        """Run the step for each item, `max_parallel` at once; the output is the list of theirs, in item order."""
        with self._failures(node, record.path, "foreach"):
            names = self._names(node, scope, record, "foreach")
            items = _listed(plan.items(names))
            at_once = max(1, plan.max_parallel(names))
            allowed = _allowed(plan, names, len(items))
            wanted = len(items) if plan.stop_after is None else plan.stop_after(names)
        now = record.started_at or self._run.now()
        self._write(record, status=StepStatus.RUNNING, started_at=now, inputs=encode({"items": len(items)}))
        around = Scope(None, record.path, record.position, scope)
        failures = await self._items(node, plan, around, record, items, at_once, allowed, wanted)
        outputs = [self._item_output(record.path, index) for index in range(len(items))]
        output = self._bounded("[" + ",".join(outputs) + "]", record.path)
        done = {"output": output, "failures": failures, "completed_at": self._run.now()}
        self._write(self._run.records[record.path], status=StepStatus.COMPLETED, **done)

    async def _items(
        self,
        node: Node,
        plan: ForeachPlan,
        around: Scope,
        record: StepRecord,
        items: Sequence[object],
        at_once: int,
        allowed: float,
        wanted: int,
    ) -> list[dict[str, object]]:
        """Run the items; the failures that were allowed. Raises the failure that was one too many."""
        mailbox, waiting, running, completed = Mailbox(), deque(enumerate(items)), 0, 0
        failures: dict[int, dict[str, object]] = {}
        failure: StepwellError | None = None
        while True:
            while waiting and running < at_once and completed < wanted and not around.halt:
                index, item = waiting.popleft()
                inner = Scope(None, around.path, around.position, around, {plan.name: item, "index": index})
                tolerant = len(failures) < allowed
                mailbox.expect(index, self._run.spawn(self._part(node, inner, record, index, tolerant)))
                running += 1
            if not running:
                break
            index, fiber = await mailbox.next()
            running -= 1
            try:
                fiber.result()
                ended = self._run.records[f"{record.path}[{index}]"]
                if ended.error is None:
                    completed += 1
                else:
                    failures[index] = {"index": index, "item": items[index], "error": ended.error.as_json()}
                if len(failures) > allowed and ended.error is not None:
                    raise StepFailed(ended.error)
            except StepwellError as error:
                failure = _graver(failure, error)
                self._run.halt(around, FAILED)
        if failure is not None:
            raise failure
        if around.halt and waiting and completed < wanted:
            raise Halted(around.halt)
        return [failures[index] for index in sorted(failures)]

    async def _again(self, node: Node, scope: Scope, record: StepRecord) -> None:
        """Repeat the step until its condition holds; the output is the last round's."""
        plan = node.until
        assert plan is not None
        self._write(record, status=StepStatus.RUNNING, started_at=record.started_at or self._run.now())
        with self._failures(node, record.path, "until"):
            names = self._names(node, scope, record, "until")
            rounds, pause = plan.max_times(names), 0.0 if plan.every is None else plan.every(names)
        for index in range(rounds):
            inner = Scope(None, record.path, record.position, scope, {"index": index})
            await self._part(node, inner, record, index, tolerant=False)
            ended = self._run.records[f"{record.path}[{index}]"]
            if self._holds(node, inner, ended, plan.condition):
                output = self._output_of(ended)
                now = self._run.now()
                self._write(
                    self._run.records[record.path], status=StepStatus.COMPLETED, output=output, completed_at=now
                )
                return
            left = max(0.0, (ended.completed_at or 0.0) + pause - self._run.now())
            if index + 1 < rounds:
                await self._run.sleep(left, scope)
                self._go_on(scope, record)
        message = f"`until` did not hold after {rounds} rounds (max_times)"
        raise StepFailed(Error("max_times", message, record.id, record.path, retryable=False))

    async def _part(self, node: Node, scope: Scope, whole: StepRecord, index: int, tolerant: bool) -> None:
        """Run one item or round; its record is at `path[index]`."""
        path, position = f"{whole.path}[{index}]", f"{whole.position}.{index:06d}"
        record = self._run.records.get(path) or StepRecord(path, position, StepStatus.PENDING, node.kind, node.step.id)
        if record.ended:
            if record.status is StepStatus.FAILED and not record.tolerated and record.error:
                raise StepFailed(record.error)
            return
        try:
            await self._once(node, scope, record)
        except StepFailed as failure:
            tolerated = tolerant and not self._run.out_of_time(scope)
            now = self._run.now()
            record = self._run.records.get(path, record)
            self._write(record, status=StepStatus.FAILED, error=failure.error, tolerated=tolerated, completed_at=now)
            if not tolerated:
                raise
        except Halted as halted:
            self._halt(path, halted)
            raise

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _fail(self, node: Node, scope: Scope, path: str, error: Error) -> None:
        tolerated = node.step.on_error == "continue" and not self._run.out_of_time(scope)
        record = self._run.records[path]
        self._write(record, status=StepStatus.FAILED, error=error, tolerated=tolerated, completed_at=self._run.now())

    async def _react(self, node: Node, scope: Scope, record: StepRecord) -> None:
        """After a failure: run `on_failure` (or what a crash left of it), and raise unless it is tolerated."""
        if record.status is not StepStatus.FAILED or record.error is None:
            return
        if node.on_failure is not None:
            await self.aside(node.on_failure, f"{record.path}/on_failure", f"{record.position}.f", scope, record.error)
        if not record.tolerated:
            raise StepFailed(record.error)

    async def aside(self, block: Block, path: str, position: str, scope: Scope, error: Error | None) -> Error | None:
        """Run a block like `on_failure`; a failure in it is recorded and answered, and changes nothing else."""
        names = {"error": error.as_json()} if error else {}
        limit = self._run.elapsed() + self._run.claim.task.timeout
        inner = Scope(block, path, position, scope, names, deadline=limit, detached=True)
        try:
            await self.block(block, inner)
        except StepFailed as failure:
            return failure.error
        return None

    def _halt(self, path: str, halted: Halted) -> None:
        """Mark a step that had begun as cancelled; not when the run is handed back, since it goes on elsewhere."""
        record = self._run.records[path]
        if halted.reason != DRAINED and not record.ended and record.started_at is not None:
            self._write(record, status=StepStatus.CANCELLED, completed_at=self._run.now())

    def _go_on(self, scope: Scope, record: StepRecord) -> None:
        """Raise if nothing may start here any more: the scope was halted, or its time is over."""
        if reason := scope.halt:
            raise Halted(reason)
        if self._run.out_of_time(scope):
            message = "the time limit was over before it could start"
            raise StepFailed(Error("timeout", message, record.id, record.path, retryable=False))

    # -- records, names, values ----------------------------------------------------------------------------------------

    def _begin(self, node: Node, scope: Scope) -> StepRecord:
        path = scope.path_of(node.name)
        record = self._run.records.get(path)
        if record is None:
            position = scope.position_of(node.index)
            record = StepRecord(path, position, StepStatus.PENDING, node.kind, node.step.id)
            self._run.records[path] = record
        return record

    def _write(self, record: StepRecord, **changes: Any) -> StepRecord:
        changed = replace(record, **changes)
        self._run.write(changed)
        return changed

    def _reset_inside(self, path: str) -> None:
        self._run.reset(f"{path}/")

    def _condition(self, node: Node, scope: Scope, record: StepRecord) -> bool:
        return node.condition is None or self._holds(node, scope, record, node.condition, key="if")

    def _holds(self, node: Node, scope: Scope, record: StepRecord, condition: Expression, key: str = "until") -> bool:
        with self._failures(node, record.path, key):
            more = {"output": self._run.names.read(record)} if key == "until" else {}
            inner = Scope(node.block, record.path, record.position, scope) if node.block and more else scope
            return bool(condition(self._names(node, inner, record, key, more)))

    def _names(
        self,
        node: Node,
        scope: Scope,
        record: StepRecord,
        purpose: str,
        more: Mapping[str, object] | None = None,
    ) -> Mapping[str, object]:
        """Every name that an expression of this step sees."""
        now = (record.completed_at if purpose == "until" else record.started_at) or self._run.now()
        names = self._run.names.at(scope, f"{record.path}/{purpose}", now, node.secrets)
        return {**names, **more} if more else names

    def _output(self, scope: Scope, node: Node) -> str:
        return self._output_of(self._run.records.get(scope.path_of(node.name)))

    def _item_output(self, path: str, index: int) -> str:
        return self._output_of(self._run.records.get(f"{path}[{index}]"))

    def _output_of(self, record: StepRecord | None) -> str:
        done = record is not None and record.status is StepStatus.COMPLETED
        return (self._run.names.text(record) or "null") if record is not None and done else "null"

    def _bounded(self, text: str, path: str) -> str:
        if len(text) > MAX_SIZE:
            message = f"the output is {len(text):,} bytes of JSON, more than {MAX_SIZE:,}: shape it with `output`"
            raise StepFailed(Error("too_large", message, None, path, retryable=False))
        return text

    @contextmanager
    def _failures(self, node: Node, path: str, key: str) -> Iterator[None]:
        """A key of the step whose expression fails, or whose value does not fit, fails the step."""
        try:
            yield
        except (ExpressionError, NotFound, ValueError) as error:
            message = self._run.names.masker.mask_text(f"{key}: {error}")
            raise StepFailed(Error("expression", message, node.step.id, path, retryable=False)) from error
        except Fail as fail:
            raise StepFailed(Error(fail.code, fail.message, node.step.id, path, retryable=False)) from fail


def _graver(first: StepwellError | None, second: StepwellError) -> StepwellError:
    """Of two reasons why a list of steps ended early: the first that is more than a halt."""
    return second if first is None or isinstance(first, Halted) else first


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
