"""What fibers wait for besides attempts and slots: times, and news. When that is all, the task is suspended."""

from __future__ import annotations

import math
from collections.abc import Callable

from stepwell.engine.fibers import Promise
from stepwell.engine.incoming import Incoming
from stepwell.engine.means import Means
from stepwell.engine.pauses import Pause, Pauses
from stepwell.engine.scope import Scope
from stepwell.ports import Suspension

LOOK_EVERY = 0.5
"""Seconds between two looks for news, while something else of the task runs."""

NEARLY_OVER = 1.0
"""Seconds for which it is not worth while to suspend a task."""


class Waiting:
    """The pauses of one run. Each ends early when its scope is halted, or the time of its scope is over."""

    def __init__(self, means: Means, incoming: Incoming, now: Callable[[], float]) -> None:
        self.incoming = incoming
        self._clock, self._suspend_after, self._now = means.clock, means.suspend_after, now
        self.pauses = Pauses(self._clock.elapsed)
        self._look_at = 0.0

    def sleep(self, seconds: float, scope: Scope) -> Promise[None]:
        """A pause. During a long one the task may be suspended."""
        end, due = self._clock.elapsed() + seconds, self._now() + seconds
        return self.pauses.begin(Pause(end, due, scope, suspends=self.is_long(seconds)))

    def is_long(self, seconds: float) -> bool:
        """Whether a pause of so many seconds need not be held."""
        return seconds >= self._suspend_after

    def until(self, due: float, scope: Scope) -> Promise[None]:
        """Kept when the time `due` has come, by the store's clock. The task may be suspended meanwhile."""
        return self.pauses.begin(Pause(self._end_of(due), due, scope, suspends=True))

    def news(self, due: float | None, scope: Scope, topic: str | None = None) -> Promise[None]:
        """As `until`, and kept when mail has come, or an event that any step waits for; `topic` is the one that this
        step subscribes to."""
        due = math.inf if due is None else due
        return self.pauses.begin(Pause(self._end_of(due), due, scope, suspends=True, listens=True, topic=topic))

    @property
    def next_end(self) -> float | None:
        """When there is something to do though nothing is said, on the run's clock; None if never."""
        if not self.pauses:
            return None
        end = self.pauses.next_end
        if not self.pauses.listening:
            return end
        return self._look_at if end is None else min(end, self._look_at)

    def end_due(self) -> None:
        """End the pauses that are over; now and then see whether there is news."""
        if not self.pauses:
            return
        self.pauses.end_due()
        if self.pauses.listening and self._clock.elapsed() >= self._look_at:
            self.look()

    def look(self) -> None:
        """Read what has come from outside."""
        self._look_at = self._clock.elapsed() + LOOK_EVERY
        if self.incoming.read():
            self.pauses.end_listening()

    def suspension(self) -> Suspension | None:
        """What the task waits for, if it has nothing else to do than to wait, and that for a while."""
        until = self.pauses.resting_until
        if until is None or until - self._now() <= min(NEARLY_OVER, self._suspend_after):
            return None
        due = None if until == math.inf else until
        topics = sorted(self.pauses.topics)
        return Suspension(due, self.incoming.last, topics, self.incoming.positions(topics))

    def _end_of(self, due: float) -> float:
        return self._clock.elapsed() + due - self._now()
