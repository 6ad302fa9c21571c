"""One task being run: decide what happens next, write it in one round trip, then do it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from stepwell.engine.attempt import Attempt, Outcome
from stepwell.engine.claimed import Claimed
from stepwell.engine.clock import Message
from stepwell.engine.ending import Ending, main
from stepwell.engine.fibers import Fibers, Promise
from stepwell.engine.flights import Abandoned, Flight, Flights
from stepwell.engine.incoming import Incoming
from stepwell.engine.journal import Journal
from stepwell.engine.launching import Launching
from stepwell.engine.leases import Claims
from stepwell.engine.limits import Limits
from stepwell.engine.means import Means
from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.parts import names_of
from stepwell.engine.pauses import Slots
from stepwell.engine.records import Records
from stepwell.engine.scope import CANCELLED, DRAINED, Scope
from stepwell.engine.steps import Steps
from stepwell.engine.waiting import Waiting
from stepwell.errors import ClaimLost, Stop, Unavailable
from stepwell.plan import Node, Plan
from stepwell.ports import Claim, Commit
from stepwell.task import Error, Mail, Status, StepRecord, StepStatus, Task
from stepwell.values import MAX_SIZE

T = TypeVar("T")

log = logging.getLogger(__name__)


UNKNOWN_PAUSE = 5.0
"""Seconds for which a task that needs what this process does not know is left to others."""

UNKNOWN_FOR = 120.0
"""Seconds after which a step whose action nobody seems to know fails."""


class Run:
    """One task between claim and the end of the run. One thread drives it at a time; `cancel`, `drain` and `lose` come
    from any.

    Each turn lets the fibers of all steps go on as far as they can, commits what ended and what starts in one
    call, starts what was announced, and waits for the next message. When all that is left is to wait, the task is
    suspended: nothing of the run is kept then, another one goes on from the records.
    """

    def __init__(
        self, means: Means, claims: Claims, claim: Claim, plan: Plan, done: Callable[[Task | None], None]
    ) -> None:
        self.means, self.claim, self.plan = means, claim, plan
        self._claimed = Claimed(means.store, claim, means.clock, means.listeners, self._gives_up)
        self.records = Records(claim.steps)
        incoming = Incoming(claim, self._claimed.mailbox, self._claimed.published, self.now)
        self.waiting = Waiting(means, incoming, self.now)
        self._began = means.clock.elapsed()
        self.root = Scope(plan.steps, "", "0", deadline=self.deadline(claim.task.timeout, 0.0))
        self.undoing = False
        self._claims, self._done = claims, done
        self._fibers, self._steps = Fibers(), Steps(self)
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._slots = Slots(plan.workflow.max_parallel)
        limits = Limits(partial(claims.doing, self.task_id, claim.token))
        self._flights = Flights(means, limits, self._ended, self.drive)
        self._pause = 0.0
        self._journal = Journal(self._claimed.flush, means.watchdog, means.threads)
        self._launching = Launching(self, self._journal, self._flights.ended)
        self.names = names_of(self)
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
            self._give_up()
        except BaseException:  # a defect of ours: once the lease is over the task is taken over, and the crash counted
            self._give_up()
            self._done(None)
            raise
        self._done(task)

    def _give_up(self) -> None:
        self._flights.interrupt()
        self._fibers.close()

    def _turns(self) -> Task:
        while True:
            self._advance()
            if self._main.done:
                return self._end(self._main.result())
            if self._is_idle and (suspension := self.waiting.suspension()) is not None:
                return self._claimed.suspend(self._taken(), suspension)
            self.commit()
            if self._flights.announced:
                self.stored(lambda: self._claims.confirm(self.task_id, self.claim.token))
            self._flights.start(alone=not self.waiting.pauses)
            self._receive()

    def cancel(self) -> None:
        """A cancel was requested: announce nothing more, and interrupt what runs."""
        self.root.halt_here = self.root.halt_here or CANCELLED
        self._inbox.put(lambda: self._halt_all(CANCELLED))
        self._flights.interrupt_cancelled()

    def drain(self, interrupt: bool = False) -> None:
        """Start nothing more and hand the task back when what runs has ended (or now, with `interrupt`)."""
        self.root.halt_here = DRAINED
        self._inbox.put(lambda: self._halt_all(DRAINED))
        if interrupt:
            self._flights.interrupt()

    def lose(self) -> None:
        """The claim is not ours any more."""
        self._inbox.put(self._lost)
        self._flights.interrupt()

    def _advance(self) -> None:
        """Let fibers go on until each waits for an attempt, a pause, or a slot that is not free."""
        self._fibers.run()
        while self.waiting.pauses.end_halted() or self._slots.grant():
            self._fibers.run()

    @property
    def _is_idle(self) -> bool:
        """Whether nothing runs or is about to, and nothing was said."""
        return not self._flights and self._inbox.empty()

    def commit(self) -> None:
        """Write what ended and what starts, in one call. Steps call it too where others must see what came before."""
        commit = self._taken()
        if not commit.steps and not commit.events and commit.progress is None:
            return
        if self._claimed.commit(commit).cancelled and not self.undoing:
            self._refused()

    def _refused(self) -> None:
        """A cancel was requested before the commit: what it announced was not written, so it must not start."""
        self._halt_all(CANCELLED)
        for flight in self._flights.withdrawn():
            self.records.withdraw(flight.before)
            flight.promise.break_(Halted(CANCELLED))

    def _receive(self) -> None:
        """Wait for an attempt to end, a pause to be over, or word from outside; then take all that came."""
        if self.waiting.pauses.end_halted() or self._fibers.ready:
            return
        message = self.means.clock.receive(self._inbox, self.waiting.next_end)
        while message is not None:
            message()
            message = self._next_message()
        self.waiting.end_due()

    def _next_message(self) -> Message | None:
        try:
            return self._inbox.get_nowait()
        except Empty:
            return None

    def _end(self, ending: Ending) -> Task:
        if ending.status is Status.QUEUED:
            return self._claimed.release(self._taken(), self._pause)
        if ending.status is Status.WAITING:
            return self._claimed.back_off(self._taken(), ending.pause, ending.error)
        self.records.cancel_open("", self.now())
        return self._claimed.finish(self._taken(), ending.status, ending.outputs, ending.error)

    # -- what steps ask for -------------------------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.claim.task.task_id

    @property
    def is_begun_again(self) -> bool:
        """Whether this is a child's first run since it was made, or in a later round of its crew begun again."""
        task = self.claim.task
        return bool(task.ancestors) and not task.ran_for and not task.crashes

    def elapsed(self) -> float:
        """Monotonic seconds: deadlines and pauses are on this clock."""
        return self.means.clock.elapsed()

    def now(self) -> float:
        """The store's time, as of its last answer and the time that passed since."""
        return self._claimed.now()

    @property
    def ran(self) -> float:
        """For how many seconds the task has been running, in all its runs."""
        return self.claim.task.ran_for + self.elapsed() - self._began

    def deadline(self, limit: float, ran_before: float) -> float:
        """When the task will have been running for so many seconds more than `ran_before`, on the run's clock."""
        return self.elapsed() + limit - (self.ran - ran_before)

    @property
    def mail(self) -> Sequence[Mail]:
        """All mail that has been seen, oldest first."""
        return self.waiting.incoming.mail

    def fetch(self, key: str) -> str:
        """The JSON text of a value that is stored apart."""
        return self._claimed.value(key)

    def stored(self, call: Callable[[], T]) -> T:
        """Call the store; while it does not answer, try again."""
        return self._claimed.stored(call)

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
        """A pause, as in `Waiting`."""
        return self.waiting.sleep(seconds, scope)

    def news(self, due: float | None, scope: Scope) -> Promise[None]:
        """Kept when mail has come, when the time `due` has by the store's clock, or nothing may go on in the scope; as
        in `Waiting`."""
        return self.waiting.news(due, scope)

    def halt(self, scope: Scope, reason: str) -> None:
        """Let no further step start in this scope, and end the pauses in it; `cancelled` interrupts what runs."""
        if scope.halt_here is None:
            self._halt(scope, reason)

    def _halt(self, scope: Scope, reason: str) -> None:
        scope.halt_here = scope.halt_here or reason
        self.waiting.pauses.halted()
        if reason == CANCELLED:
            self._flights.interrupt_cancelled()

    def out_of_time(self, scope: Scope) -> bool:
        """Whether the deadline of a scope is over."""
        return scope.deadline is not None and self.elapsed() >= scope.deadline

    def go_on(self, scope: Scope, record: StepRecord) -> None:
        """Raise if nothing may start here any more: the scope was halted, or its time is over."""
        if reason := scope.halt:
            raise Halted(reason)
        if self.out_of_time(scope):
            message = f"the time limit was over before it {'ended' if record.wait else 'could start'}"
            raise StepFailed(Error("timeout", message, record.id, record.path, retryable=False))

    def fail(self, path: str, error: Error, tolerated: bool) -> None:
        """Write that a step, item or round has failed for good."""
        now, shown = self.now(), replace(error, message=self.names.masker.mask_text(error.message))
        self.records.write(
            self.records[path], status=StepStatus.FAILED, error=shown, tolerated=tolerated, completed_at=now
        )

    def warn(self, record: StepRecord, message: str) -> None:
        """Add a line to the task's log."""
        self._journal.line(record.path, record.attempts, "warning", self.names.masker.mask_text(message))

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
        attempt = self._launching.attempt(node, scope, record, inputs, limit)
        flight = Flight(attempt, scope, before, Promise())
        self._flights.announce(flight)
        return flight.promise

    # -- inside -------------------------------------------------------------------------------------------------------

    def _ended(self, attempt: Attempt) -> None:
        self._inbox.put(lambda: self._landed(attempt))

    def _landed(self, attempt: Attempt) -> None:
        flight = self._flights.landed(attempt)
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
        self._halt(self.root, reason)

    def _lost(self) -> None:
        raise ClaimLost(f"the claim on task {self.task_id} is not ours any more")

    def _taken(self) -> Commit:
        events, progress = self._journal.take()
        return Commit(self.records.take(), events, progress, self.undoing)

    def _gives_up(self, unanswered: float) -> bool:
        """Whether to leave the task to others. In a terminal, or when this process is to end, somebody waits for that;
        else it would only cost the task a crash."""
        is_waited_for = self.means.interactive or self.root.halt_here == DRAINED
        return self._flights.hurry or (is_waited_for and unanswered >= self.means.lease_seconds)
