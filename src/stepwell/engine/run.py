"""One task being run: decide what happens next, write it in one round trip, then do it."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from stepwell.engine.attempt import Attempt, Outcome, TimeLimit
from stepwell.engine.clock import Message
from stepwell.engine.context import StepContext
from stepwell.engine.ending import Ending, main
from stepwell.engine.fibers import Fibers, Promise
from stepwell.engine.journal import Journal
from stepwell.engine.leases import Claims
from stepwell.engine.limits import Limits
from stepwell.engine.means import Means
from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.pauses import Pauses, Slots
from stepwell.engine.records import Records
from stepwell.engine.scope import CANCELLED, DRAINED, Scope
from stepwell.engine.steps import Steps
from stepwell.engine.workfolder import WorkFolder
from stepwell.errors import ClaimLost, Stop, TaskCancelled, Unavailable
from stepwell.plan import Node, Plan
from stepwell.ports import Claim, Commit
from stepwell.task import Error, Status, StepRecord, StepStatus, Task
from stepwell.values import MAX_SIZE

T = TypeVar("T")

log = logging.getLogger(__name__)


UNKNOWN_PAUSE = 5.0
"""Seconds for which a task that needs what this process does not know is left to others."""

UNKNOWN_FOR = 120.0
"""Seconds after which a step whose action nobody seems to know fails."""


@dataclass
class Flight:
    """An attempt from its announcement to its end; `before` is the record as it was before."""

    attempt: Attempt
    scope: Scope
    before: StepRecord
    promise: Promise[Outcome]


class Abandoned(BaseException):
    """Raised in a thread that was stuck in user code until its attempt was given up: another drives the run now."""


class Run:
    """One task between claim and finish. One thread drives it at a time; `cancel`, `drain` and `lose` come from any.

    Each turn lets the fibers of all steps go on as far as they can, commits what ended and what starts in one
    call, starts what was announced, and waits for the next message.
    """

    def __init__(
        self, means: Means, claims: Claims, claim: Claim, plan: Plan, done: Callable[[Task | None], None]
    ) -> None:
        self.means, self.claim, self.plan = means, claim, plan
        self.records = Records(claim.steps)
        self.names = means.names(claim, self.records.by_path, self.now, self._fetch)
        self.root = Scope(plan.steps, "", "0", deadline=means.clock.elapsed() + claim.task.timeout - claim.task.ran_for)
        self.undoing = False
        self._claims, self._done = claims, done
        self._fibers, self._steps = Fibers(), Steps(self)
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._slots, self._pauses = Slots(plan.workflow.max_parallel), Pauses(self.elapsed)
        self._announced: deque[Flight] = deque()
        self._flying: dict[Attempt, Flight] = {}
        self._limits = Limits(partial(claims.doing, self.task_id, claim.token))
        self._pause = 0.0
        self._baton = threading.Lock()
        self._here: Attempt | None = None
        self._hurry = False
        self._ahead = claim.now - means.clock.elapsed()
        self._journal = Journal(self._flush, means.watchdog, means.threads)
        self._main = self._fibers.spawn(main(self, self._steps))
        if claim.task.cancel_requested:
            self.root.halt_here = CANCELLED

    # -- driving ----------------------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Go on until the task has ended, waits, or is handed back; calls `done` with the task, or None if the claim
        was lost. Returns also when this thread was stuck in user code, and another drives now."""
        task = None
        try:
            task = self._turns()
        except Abandoned:
            log.warning("task %s: code that had not yielded to its time limit has returned", self.task_id)
            return
        except (ClaimLost, Unavailable) as error:  # another holds the task, or will once the lease is over
            log.warning("task %s is not ours any more: %s", self.task_id, error)
            self._interrupt()
        except BaseException:  # a defect of ours: once the lease is over the task is taken over, and the crash counted
            self._interrupt()
            self._done(None)
            raise
        self._done(task)

    def _turns(self) -> Task:
        while True:
            self._advance()
            if self._main.done:
                return self._end(self._main.result())
            self._commit()
            if self._announced:
                self._stored(lambda: self._claims.confirm(self.task_id, self.claim.token))
            here = self._start()
            if here is not None:
                with self._holding(here):
                    here.call()
            self._receive()

    def cancel(self) -> None:
        """A cancel was requested: announce nothing more, and interrupt what runs."""
        self.root.halt_here = self.root.halt_here or CANCELLED
        self._inbox.put(lambda: self._halt_all(CANCELLED))
        self._interrupt_cancelled()

    def drain(self, interrupt: bool = False) -> None:
        """Start nothing more and hand the task back when what runs has ended (or now, with `interrupt`)."""
        self.root.halt_here = DRAINED
        self._inbox.put(lambda: self._halt_all(DRAINED))
        if interrupt:
            self._interrupt()

    def lose(self) -> None:
        """The claim is not ours any more."""
        self._inbox.put(self._lost)
        self._interrupt()

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
        self._halt_all(CANCELLED)
        while self._announced:
            flight = self._announced.popleft()
            self.records.withdraw(flight.before)
            flight.promise.break_(Halted(CANCELLED))
        self._interrupt_cancelled()

    def _start(self) -> Attempt | None:
        """Start what was announced; a single synchronous action with nothing beside it is left to this thread."""
        alone = len(self._flying) + len(self._announced) == 1 and not self._pauses
        here = None
        while self._announced:
            flight = self._announced.popleft()
            self._flying[flight.attempt] = flight
            self._watch(flight.attempt)
            if self._begin(flight.attempt, alone):
                here = flight.attempt
            if self._hurry or flight.scope.halt == CANCELLED:
                flight.attempt.interrupt(TaskCancelled, self.means.watchdog)
        return here

    def _watch(self, attempt: Attempt) -> None:
        attempt.watch(self.means.watchdog)
        limit = math.inf if attempt.limit is None else attempt.limit.seconds
        self._limits.add(attempt, self.elapsed() + limit)

    def _begin(self, attempt: Attempt, alone: bool) -> bool:
        """Start an attempt; True if this thread is to call it."""
        with self._holding(attempt):
            ready = attempt.prepare()
        if ready and attempt.is_async:
            attempt.start()
        elif ready and not alone:
            self.means.threads.run(attempt.call)
        return ready and alone and not attempt.is_async

    @contextmanager
    def _holding(self, attempt: Attempt) -> Iterator[None]:
        """Inside, this thread may be stuck in user code. If the attempt is given up, the baton goes to another."""
        self._here = attempt
        yield
        with self._baton:
            if self._here is not attempt:
                raise Abandoned
            self._here = None

    def _receive(self) -> None:
        """Wait for an attempt to end, a pause to be over, or word from outside; then take all that came."""
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
            return self._stored(lambda: store.release(task_id, token, commit, self._pause))
        if ending.status is Status.WAITING:
            return self._stored(lambda: store.back_off(task_id, token, commit, ending.pause, ending.error))
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
        """A pause, which ends early when its scope is halted or its time is over."""
        left = seconds if scope.deadline is None else min(seconds, scope.deadline - self.elapsed())
        return self._pauses.begin(left, scope)

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

    def mark_stopped(self, path: str, stop: Stop, status: StepStatus = StepStatus.CANCELLED) -> None:
        """Write that a step stopped the task, or that what is around it was ended by that."""
        record = self.records[path]
        if not record.ended:
            stopped = {"status": stop.status, "message": stop.message}
            self.records.write(record, status=status, stopped=stopped, completed_at=self.now())

    def raise_stop(self, record: StepRecord) -> None:
        """Raise the `Stop` of a step that stopped the task, also in a later run of it."""
        if record.stopped is not None:
            raise Stop(record.stopped["message"], status=record.stopped["status"])

    def bounded(self, text: str, node: Node, path: str) -> str:
        """The JSON text of a composed output, unless it is too large."""
        if len(text) <= MAX_SIZE:
            return text
        message = f"the output is {len(text):,} characters of JSON, more than {MAX_SIZE:,}: shape it with `output`"
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
            return TimeLimit(own, f"it took longer than its time limit of {own:g} s", own=True)
        message = "the time limit of the task, or of a group around it, was over"
        return None if left is None else TimeLimit(left, message, own=False)

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
        self._limits.remove(attempt)
        self._inbox.put(lambda: self._landed(attempt))
        with self._baton:
            stuck = attempt.abandoned and attempt is self._here
            if stuck:
                self._here = None
        if stuck:
            self.means.threads.run(self.drive)
        if attempt.abandoned:
            self.means.on_abandoned()

    def _landed(self, attempt: Attempt) -> None:
        flight = self._flying.pop(attempt)
        if not attempt.known and self._may_be_known_elsewhere(flight.before):
            log.warning("task %s is handed back: %s", self.task_id, attempt.outcome.error)
            self._pause, attempt.outcome.interrupted = UNKNOWN_PAUSE, True
            self._halt_all(DRAINED)
        flight.promise.keep(attempt.outcome)

    def _may_be_known_elsewhere(self, before: StepRecord) -> bool:
        waited = self.now() - (before.started_at or self.now())
        return self.means.hands_back and waited < UNKNOWN_FOR

    def _halt_all(self, reason: str) -> None:
        if reason == DRAINED:
            self.root.halt_here = DRAINED
        self.halt(self.root, reason)

    def _interrupt(self) -> None:
        """Interrupt all that runs, and all that is about to."""
        self._hurry = True
        for flight in list(self._flying.values()):
            flight.attempt.interrupt(TaskCancelled, self.means.watchdog)

    def _interrupt_cancelled(self) -> None:
        for flight in list(self._flying.values()):
            if flight.scope.halt == CANCELLED:
                flight.attempt.interrupt(TaskCancelled, self.means.watchdog)

    def _lost(self) -> None:
        raise ClaimLost(f"the claim on task {self.task_id} is not ours any more")

    def _taken(self) -> Commit:
        events, progress = self._journal.take()
        return Commit(self.records.take(), events, progress, self.undoing)

    def _fetch(self, key: str) -> str:
        return self._stored(lambda: self.means.store.value(self.task_id, key))

    def _flush(self, commit: Commit) -> None:
        self.means.store.commit(self.task_id, self.claim.token, commit)

    def _stored(self, write: Callable[[], T]) -> T:
        """Write; while the store does not answer, try again: it refuses what comes too late."""
        try:
            return write()
        except Unavailable:
            again = Retrying(
                retry=retry_if_exception_type(Unavailable),
                stop=self._gives_up,
                wait=wait_exponential(multiplier=0.05, max=1),
                reraise=True,
            )
            return again(write)

    def _gives_up(self, state: RetryCallState) -> bool:
        """Whether to leave the task to others. In a terminal, or when this process is to end, somebody waits for that;
        else it would only cost the task a crash."""
        is_waited_for = self.means.interactive or self.root.halt_here == DRAINED
        return self._hurry or (is_waited_for and (state.seconds_since_start or 0.0) >= self.means.lease_seconds)
