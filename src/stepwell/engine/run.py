"""One task being run: decide what happens next, write it in one round trip, then do it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from stepwell.engine.attempt import Abandoned, Attempt, Outcome, TimeLimit
from stepwell.engine.clock import Message
from stepwell.engine.context import StepContext
from stepwell.engine.ending import Ending, main
from stepwell.engine.fibers import Fibers, Promise
from stepwell.engine.journal import Journal
from stepwell.engine.means import Means
from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.pauses import Pauses, Slots
from stepwell.engine.records import Records
from stepwell.engine.scope import CANCELLED, DRAINED, Scope
from stepwell.engine.steps import Steps
from stepwell.engine.workfolder import WorkFolder
from stepwell.errors import ClaimLost, TaskCancelled, Unavailable
from stepwell.plan import Node, Plan
from stepwell.ports import Claim, Commit
from stepwell.task import Error, Status, StepRecord, StepStatus, Task
from stepwell.values import MAX_SIZE

T = TypeVar("T")


@dataclass
class Flight:
    """An attempt from its announcement to its end; `before` is the record as it was before."""

    attempt: Attempt
    scope: Scope
    before: StepRecord
    promise: Promise[Outcome]


class Run:
    """One task between claim and finish. One thread drives it at a time; `cancel`, `drain` and `lose` come from any.

    Each turn lets the fibers of all steps go on as far as they can, commits what ended and what starts in one
    call, starts what was announced, and waits for the next message.
    """

    def __init__(self, means: Means, claim: Claim, plan: Plan, done: Callable[[Task | None], None]) -> None:
        self.means, self.claim, self.plan = means, claim, plan
        self.records = Records(claim.steps)
        self.names = means.names(claim, self.records.by_path, self.now)
        self.root = Scope(plan.steps, "", "0", deadline=means.clock.elapsed() + claim.task.timeout - claim.task.ran_for)
        self.undoing = False
        self._done = done
        self._fibers, self._steps = Fibers(), Steps(self)
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._slots, self._pauses = Slots(plan.workflow.max_parallel), Pauses(self.elapsed)
        self._announced: list[Flight] = []
        self._flying: dict[Attempt, Flight] = {}
        self._here: Attempt | None = None
        self._ahead = claim.now - means.clock.elapsed()
        self._journal = Journal(self._flush, means.watchdog)
        self._main = self._fibers.spawn(main(self, self._steps))
        if claim.task.cancel_requested:
            self.root.halt_here = CANCELLED

    # -- driving ----------------------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Go on until the task has ended, waits, or is handed back; calls `done` with the task, or None if the claim
        was lost. Raises `Abandoned` if this thread was stuck in user code and another drives now."""
        try:
            task = self._turns()
        except Abandoned:
            raise
        except (ClaimLost, Unavailable):  # another holds the task, or will once the lease is over
            self._interrupt(lambda _: True)
            task = None
        except BaseException:  # a defect of ours: once the lease is over the task is taken over, and the crash counted
            self._done(None)
            raise
        self._done(task)

    def _turns(self) -> Task:
        while True:
            self._advance()
            if self._main.done:
                return self._end(self._main.result())
            self._commit()
            here = self._start()
            if here is not None:
                here.call()
            self._receive()

    def cancel(self) -> None:
        """A cancel was requested: announce nothing more, and interrupt what runs."""
        self._inbox.put(lambda: self._halt_all(CANCELLED))
        self.root.halt_here = self.root.halt_here or CANCELLED
        self._interrupt(lambda flight: flight.scope.halt == CANCELLED)

    def drain(self, interrupt: bool = False) -> None:
        """Start nothing more and hand the task back when what runs has ended (or now, with `interrupt`)."""
        self._inbox.put(lambda: self._halt_all(DRAINED))
        if interrupt:
            self.root.halt_here = DRAINED
            self._interrupt(lambda _: True)

    def lose(self) -> None:
        """The claim is not ours any more."""
        self._inbox.put(self._lost)
        self._interrupt(lambda _: True)

    def _advance(self) -> None:
        """Let fibers go on until each waits for an attempt, a pause, or a slot that is not free."""
        self._fibers.run()
        while self._slots.grant():
            self._fibers.run()

    def _commit(self) -> None:
        """Write what ended and what starts, in one call."""
        commit = self._taken()
        if not commit.steps and not commit.events and commit.progress is None:
            return
        receipt = self._stored(lambda: self.means.store.commit(self.task_id, self.claim.token, commit))
        self._ahead = max(self._ahead, receipt.now - self.elapsed())  # the quickest reply tells it best
        if receipt.cancelled and not self.undoing:
            self._refused()

    def _refused(self) -> None:
        """A cancel was requested before the commit: what it announced was not written, so it must not start."""
        announced, self._announced = self._announced, []
        self._halt_all(CANCELLED)
        for flight in announced:
            self.records.withdraw(flight.before)
            flight.promise.break_(Halted(CANCELLED))
        self._interrupt(lambda flight: flight.scope.halt == CANCELLED)

    def _start(self) -> Attempt | None:
        """Start what was announced; a single synchronous action with nothing beside it is left to the caller's
        thread."""
        announced, self._announced = self._announced, []
        for flight in announced:
            self._flying[flight.attempt] = flight
        alone = len(self._flying) == 1 and not self._pauses
        for flight in announced:
            attempt = flight.attempt
            if not attempt.prepare():
                continue
            attempt.watch(self.means.watchdog)
            if attempt.is_async:
                attempt.start()
            elif alone:
                self._here = attempt
            else:
                self.means.threads.run(lambda attempt=attempt: _call(attempt))  # type: ignore[misc]
            if flight.scope.halt == CANCELLED:
                attempt.interrupt(TaskCancelled, self.means.watchdog)
        return self._here

    def _receive(self) -> None:
        """Wait for an attempt to end, a pause to be over, or word from outside; then take all that came."""
        self._here = None
        if self._fibers.ready:
            return
        message = self.means.clock.receive(self._inbox, self._pauses.next_end)
        while message is not None:
            message()
            message = self._next_message()
        self._pauses.end_due()

    def _next_message(self) -> Message | None:
        try:
            return self._inbox.get_nowait()
        except Empty:
            return None

    def _end(self, ending: Ending) -> Task:
        store, task_id, token, commit = self.means.store, self.task_id, self.claim.token, self._taken()
        if ending.status is Status.QUEUED:
            return self._stored(lambda: store.release(task_id, token, commit))
        if ending.status is Status.WAITING:
            return self._stored(lambda: store.suspend(task_id, token, commit, ending.pause, ending.error))
        return self._stored(lambda: store.finish(task_id, token, commit, ending.status, ending.outputs, ending.error))

    # -- what steps ask for -------------------------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.claim.task.task_id

    def elapsed(self) -> float:
        """Monotonic seconds: deadlines and pauses are on this clock."""
        return self.means.clock.elapsed()

    def now(self) -> float:
        """The store's time, as of its last answer and the time that passed since."""
        return self.elapsed() + self._ahead

    def spawn(self, coroutine: Coroutine[Promise[Any], None, T]) -> Promise[T]:
        """Have a coroutine run beside the others."""
        return self._fibers.spawn(coroutine)

    def slot(self, height: int) -> Promise[None]:
        """One of the task's `max_parallel` slots, the longest way to the end first; to be given back."""
        return self._slots.want(height)

    def give_back(self) -> None:
        """Give a slot back."""
        self._slots.give_back()

    def sleep(self, seconds: float, scope: Scope) -> Promise[None]:
        """A pause, which ends early when its scope is halted."""
        return self._pauses.begin(seconds, scope)

    def halt(self, scope: Scope, reason: str) -> None:
        """Let no further step start in this scope, and end the pauses in it."""
        scope.halt_here = scope.halt_here or reason
        self._pauses.end_halted()

    def out_of_time(self, scope: Scope) -> bool:
        """Whether the deadline of a scope is over."""
        return scope.deadline is not None and self.elapsed() >= scope.deadline

    def go_on(self, scope: Scope, record: StepRecord) -> None:
        """Raise if nothing may start here any more: the scope was halted, or its time is over."""
        if reason := scope.halt:
            raise Halted(reason)
        if self.out_of_time(scope):
            message = "the time limit was over before it could start"
            raise StepFailed(Error("timeout", message, record.id, record.path, retryable=False))

    def fail(self, path: str, error: Error, tolerated: bool) -> None:
        """Write that a step, item or round has failed for good."""
        now, shown = self.now(), replace(error, message=self.names.masker.mask_text(error.message))
        self.records.write(
            self.records[path], status=StepStatus.FAILED, error=shown, tolerated=tolerated, completed_at=now
        )

    def mark_halted(self, path: str, halted: Halted) -> None:
        """Write that a step that had begun was cancelled; not when the run is handed back, for it goes on elsewhere."""
        record = self.records[path]
        if halted.reason != DRAINED and not record.ended and record.started_at is not None:
            self.records.write(record, status=StepStatus.CANCELLED, completed_at=self.now())

    def bounded(self, text: str, node: Node, path: str) -> str:
        """The JSON text of a composed output, unless it is too large."""
        if len(text) <= MAX_SIZE:
            return text
        message = f"the output is {len(text):,} bytes of JSON, more than {MAX_SIZE:,}: shape it with `output`"
        raise StepFailed(Error("too_large", message, node.step.id, path, retryable=False))

    def perform(
        self, node: Node, scope: Scope, before: StepRecord, record: StepRecord, inputs: str, limit: float | None
    ) -> Promise[Outcome]:
        """Have an attempt start right after the commit that announces it."""
        context, resolve = self._context(node, scope, record), partial(self.means.resolve, node)
        attempt = Attempt(resolve, inputs, context, self._limit(scope, limit), self._ended, self.means.interactive)
        flight = Flight(attempt, scope, before, Promise())
        self._announced.append(flight)
        return flight.promise

    def _limit(self, scope: Scope, own: float | None) -> TimeLimit | None:
        left = None if scope.deadline is None else max(0.0, scope.deadline - self.elapsed())
        if own is not None and (left is None or own <= left):
            return TimeLimit(own, f"it took longer than its time limit of {own:g} s")
        return (
            None if left is None else TimeLimit(left, "the time limit of the task, or of a group around it, was over")
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _context(self, node: Node, scope: Scope, record: StepRecord) -> StepContext:
        files = self.names.files(scope, node.step.needs_files or ())
        return StepContext(
            task_id=self.task_id,
            step_id=node.step.id,
            path=record.path,
            attempt=record.attempts,
            secrets=self.names.secrets(node),
            masker=self.names.masker,
            journal=self._journal,
            folder=WorkFolder(self.means.files, files, node.step.files or ()),
        )

    def _ended(self, attempt: Attempt) -> None:
        """Called by the thread in which an attempt ended, or was given up."""
        self._inbox.put(lambda: self._flying.pop(attempt).promise.keep(attempt.outcome))
        if attempt.abandoned and attempt is self._here:  # this run's driver is stuck in it: another thread takes over
            self._here = None
            self.means.threads.run(self.drive)

    def _halt_all(self, reason: str) -> None:
        self.halt(self.root, reason)
        if reason == DRAINED:
            self.root.halt_here = DRAINED
            self.halt(self.root, DRAINED)

    def _interrupt(self, which: Callable[[Flight], bool]) -> None:
        for flight in list(self._flying.values()):
            if which(flight):
                flight.attempt.interrupt(TaskCancelled, self.means.watchdog)

    def _lost(self) -> None:
        raise ClaimLost(f"the claim on task {self.task_id} is not ours any more")

    def _taken(self) -> Commit:
        events, progress = self._journal.take()
        return Commit(self.records.take(), events, progress, self.undoing)

    def _flush(self, commit: Commit) -> None:
        self.means.store.commit(self.task_id, self.claim.token, commit)

    def _stored(self, write: Callable[[], T]) -> T:
        """Write; while the store does not answer, try again for as long as the lease may last."""
        try:
            return write()
        except Unavailable:
            again = Retrying(
                retry=retry_if_exception_type(Unavailable),
                stop=stop_after_delay(self.means.lease_seconds),
                wait=wait_exponential(multiplier=0.05, max=1),
                reraise=True,
            )
            return again(write)


def _call(attempt: Attempt) -> None:
    try:
        attempt.call()
    except Abandoned:
        return
