"""One task being run: decide what happens next, write it in one round trip, then do it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from stepwell.engine.attempt import Abandoned, Attempt, Outcome
from stepwell.engine.clock import Clock, Message
from stepwell.engine.context import StepContext
from stepwell.engine.ending import Ending, main
from stepwell.engine.fibers import Fibers, Promise
from stepwell.engine.journal import Journal
from stepwell.engine.names import Names
from stepwell.engine.scope import CANCELLED, DRAINED, Scope
from stepwell.engine.steps import Halted, Steps
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.engine.workfolder import WorkFolder
from stepwell.errors import ClaimLost, TaskCancelled, Unavailable
from stepwell.lifecycle import reset, to_reset
from stepwell.plan import Node, Plan
from stepwell.ports import Claim, Commit, FileStore, TaskStore
from stepwell.registry import Action
from stepwell.task import Status, StepRecord, Task

T = TypeVar("T")


@dataclass(frozen=True)
class Means:
    """What every run of an engine shares."""

    store: TaskStore
    files: FileStore
    names: Callable[[Claim, Mapping[str, StepRecord]], Names]
    resolve: Callable[[Node], Action]
    worker: str
    threads: Threads
    watchdog: Watchdog
    clock: Clock
    lease_seconds: float
    interactive: bool = False


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
        self.records = {record.path: record for record in claim.steps}
        self.names = means.names(claim, self.records)
        self.root = Scope(plan.steps, "", "0", deadline=means.clock.elapsed() + claim.task.timeout - claim.task.ran_for)
        self.undoing = False
        self._done = done
        self._fibers, self._steps = Fibers(), Steps(self)
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._numbers = itertools.count()
        self._free = plan.workflow.max_parallel
        self._wanting: list[tuple[int, int, Promise[None]]] = []
        self._sleeping: list[tuple[float, int, Promise[None], Scope]] = []
        self._announced: list[Flight] = []
        self._flying: dict[Attempt, Flight] = {}
        self._here: Attempt | None = None
        self._dirty: dict[str, StepRecord] = {}
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
            while True:
                self._advance()
                if self._main.done:
                    break
                self._commit()
                here = self._start()
                if here is not None:
                    here.call()
                self._receive()
            task = self._end(self._main.result())
        except (ClaimLost, Unavailable):  # another holds the task, or will once the lease is over
            self._interrupt(lambda _: True)
            task = None
        self._done(task)

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
        while self._free and self._wanting:
            self._free -= 1
            heapq.heappop(self._wanting)[2].keep(None)
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
            self.records[flight.before.path] = flight.before
            flight.promise.break_(Halted(CANCELLED))
        self._interrupt(lambda flight: flight.scope.halt == CANCELLED)

    def _start(self) -> Attempt | None:
        """Start what was announced; a single synchronous action with nothing beside it is left to the caller's
        thread."""
        announced, self._announced = self._announced, []
        for flight in announced:
            self._flying[flight.attempt] = flight
        alone = len(self._flying) == 1 and not self._sleeping
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
        until = self._sleeping[0][0] if self._sleeping else None
        message = self.means.clock.receive(self._inbox, until)
        while message is not None:
            message()
            message = self._next_message()
        while self._sleeping and self._sleeping[0][0] <= self.elapsed():
            heapq.heappop(self._sleeping)[2].keep(None)

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
        promise: Promise[None] = Promise()
        heapq.heappush(self._wanting, (-height, next(self._numbers), promise))
        return promise

    def give_back(self) -> None:
        """Give a slot back."""
        self._free += 1

    def sleep(self, seconds: float, scope: Scope) -> Promise[None]:
        """A pause, which ends early when its scope is halted."""
        promise: Promise[None] = Promise()
        heapq.heappush(self._sleeping, (self.elapsed() + seconds, next(self._numbers), promise, scope))
        return promise

    def halt(self, scope: Scope, reason: str) -> None:
        """Let no further step start in this scope, and end the pauses in it."""
        scope.halt_here = scope.halt_here or reason
        for _, _, promise, sleeper in self._sleeping:
            if sleeper.halt:
                promise.keep(None)
        self._sleeping = [entry for entry in self._sleeping if not entry[2].done]
        heapq.heapify(self._sleeping)

    def out_of_time(self, scope: Scope) -> bool:
        """Whether the deadline of a scope is over."""
        return scope.deadline is not None and self.elapsed() >= scope.deadline

    def write(self, record: StepRecord) -> None:
        """Have a record written by the next commit."""
        self.records[record.path] = self._dirty[record.path] = record

    def reset(self, within: str = "") -> None:
        """Make what failed, was cancelled or was left running pending again, in the whole task or under a path."""
        inside = [record for path, record in self.records.items() if path.startswith(within)]
        for path in to_reset(inside):
            self.write(reset(self.records[path]))

    def perform(
        self, node: Node, scope: Scope, before: StepRecord, record: StepRecord, inputs: str, limit: float | None
    ) -> Promise[Outcome]:
        """Have an attempt start right after the commit that announces it."""
        left = None if scope.deadline is None else max(0.0, scope.deadline - self.elapsed())
        limits = [given for given in (limit, left) if given is not None]
        attempt = Attempt(
            lambda: self.means.resolve(node),
            inputs,
            self._context(node, scope, record),
            min(limits, default=None),
            self._ended,
            self.means.interactive,
        )
        flight = Flight(attempt, scope, before, Promise())
        self._announced.append(flight)
        return flight.promise

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
            self.means.threads.run(self._take_over)

    def _take_over(self) -> None:
        self._receive()
        self.drive()

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
        steps, self._dirty = tuple(self._dirty.values()), {}
        return Commit(steps, events, progress, self.undoing)

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
