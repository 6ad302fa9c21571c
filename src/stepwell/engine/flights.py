"""The attempts of a run under way: handed to threads and to the shared loop, and taken back when they end."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stepwell.engine.attempt import Attempt, Outcome
from stepwell.engine.fibers import Promise
from stepwell.engine.limits import Limits
from stepwell.engine.means import Means
from stepwell.engine.scope import CANCELLED, Scope
from stepwell.errors import TaskCancelled
from stepwell.task import StepRecord


@dataclass(eq=False)
class Flight:
    """An attempt from its announcement to its end; `before` is the record as it was before."""

    attempt: Attempt
    scope: Scope
    before: StepRecord
    promise: Promise[Outcome]


class Abandoned(BaseException):
    """Raised in a thread that was stuck in user code until its attempt was given up: another drives the run now."""


class Flights:
    """Starts what a commit has announced. One thread drives; `interrupt` comes from any.

    `limits` is told what is to end next, `ended` is called, from any thread, for each attempt that ended or was given
    up, and has it `landed` by the thread that drives. `drive` takes over from a thread that is stuck in user code.
    """

    def __init__(
        self, means: Means, limits: Limits, ended: Callable[[Attempt], None], drive: Callable[[], None]
    ) -> None:
        self._means, self._limits, self._on_end, self._drive = means, limits, ended, drive
        self._announced: deque[Flight] = deque()
        self._flying: dict[Attempt, Flight] = {}
        self._baton = threading.Lock()
        self._here: Attempt | None = None
        self.hurry = False

    def __bool__(self) -> bool:
        return bool(self._flying or self._announced)

    @property
    def announced(self) -> bool:
        """Whether something is to start after the commit."""
        return bool(self._announced)

    def announce(self, flight: Flight) -> None:
        """Have an attempt start after the next commit."""
        self._announced.append(flight)

    def withdrawn(self) -> list[Flight]:
        """What was announced, and is not to start after all."""
        flights, self._announced = list(self._announced), deque()
        return flights

    def start(self, alone: bool) -> None:
        """Start what was announced. A synchronous action with nothing beside it is called in this thread if the run
        has nothing else to do: if it is `alone`."""
        alone = alone and len(self._flying) + len(self._announced) == 1
        here = None
        while self._announced:
            flight = self._announced.popleft()
            self._flying[flight.attempt] = flight
            self._watch(flight.attempt)
            if self._begin(flight.attempt, alone):
                here = flight.attempt
            if self.hurry or flight.scope.halt == CANCELLED:
                flight.attempt.interrupt(TaskCancelled, self._means.watchdog)
        if here is not None:
            with self._holding(here):
                here.call()

    def ended(self, attempt: Attempt) -> None:
        """Called by the thread in which an attempt ended, or was given up."""
        self._limits.remove(attempt)
        self._on_end(attempt)
        with self._baton:
            stuck = attempt.abandoned and attempt is self._here
            if stuck:
                self._here = None
        if stuck:
            self._means.threads.run(self._drive)
        if attempt.abandoned:
            self._means.on_abandoned()

    def landed(self, attempt: Attempt) -> Flight:
        """Take back an attempt that has ended."""
        return self._flying.pop(attempt)

    def interrupt(self) -> None:
        """Interrupt all that runs, and all that is about to."""
        self.hurry = True
        self._interrupt(list(self._flying.values()))

    def interrupt_cancelled(self) -> None:
        """Interrupt what runs in a scope that was cancelled."""
        self._interrupt([flight for flight in list(self._flying.values()) if flight.scope.halt == CANCELLED])

    def _interrupt(self, flights: list[Flight]) -> None:
        for flight in flights:
            flight.attempt.interrupt(TaskCancelled, self._means.watchdog)

    def _watch(self, attempt: Attempt) -> None:
        attempt.watch(self._means.watchdog)
        limit = math.inf if attempt.limit is None else attempt.limit.seconds
        self._limits.add(attempt, self._means.clock.elapsed() + limit)

    def _begin(self, attempt: Attempt, alone: bool) -> bool:
        """Start an attempt; True if this thread is to call it."""
        with self._holding(attempt):
            ready = attempt.prepare()
        if ready and attempt.is_async:
            attempt.start()
        elif ready and not alone:
            self._means.threads.run(attempt.call)
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
