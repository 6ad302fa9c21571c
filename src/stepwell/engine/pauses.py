"""What fibers wait for besides attempts: a free slot, the end of a pause, and news from outside."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from stepwell.engine.fibers import Promise
from stepwell.engine.scope import Scope


class Slots:
    """The places for steps of one task that run at once; the longest way to the end comes first."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._wanting: list[tuple[int, int, Promise[None]]] = []
        self._numbers = itertools.count()

    def want(self, height: int) -> Promise[None]:
        """A place, for a step with so many steps after it."""
        promise: Promise[None] = Promise()
        heapq.heappush(self._wanting, (-height, next(self._numbers), promise))
        return promise

    def grant(self) -> bool:
        """Give a free place to who comes first; False if there is none, or nobody wants one."""
        if not self._free or not self._wanting:
            return False
        self._free -= 1
        heapq.heappop(self._wanting)[2].keep(None)
        return True

    def give_back(self) -> None:
        """A place is free again."""
        self._free += 1


@dataclass(eq=False, slots=True)
class Pause:
    """A fiber that pauses until `end`, on the run's clock, which is `due` by the store's (infinity: until something
    comes).

    `suspends`: nothing need be held for it, so the task may be suspended meanwhile. `listens`: it also ends when news
    comes; `topic` is the one it wants publications of.
    """

    end: float
    due: float
    scope: Scope
    suspends: bool = False
    listens: bool = False
    topic: str | None = None
    over: Promise[None] = field(default_factory=Promise)

    @property
    def wakes_at(self) -> float:
        """When it is over if the run goes on: at its end, or when the time of its scope is."""
        return self.end if self.scope.deadline is None else min(self.end, self.scope.deadline)


class Pauses:
    """Pauses of fibers, by the time they are over on the run's clock."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._sleeping: list[tuple[float, int, Pause]] = []
        self._numbers = itertools.count()
        self._listening = 0
        self._halted = False

    def __bool__(self) -> bool:
        return bool(self._sleeping)

    def begin(self, pause: Pause) -> Promise[None]:
        """A pause, which ends early when its scope is halted, or its time is over."""
        if pause.scope.halt:
            pause.over.keep(None)
        else:
            heapq.heappush(self._sleeping, (pause.wakes_at, next(self._numbers), pause))
            self._listening += pause.listens
        return pause.over

    @property
    def next_end(self) -> float | None:
        """When the first pause is over; None if none is before something comes."""
        first = self._sleeping[0][0] if self._sleeping else math.inf
        return None if first == math.inf else first

    @property
    def listening(self) -> bool:
        """Whether anybody wants news."""
        return self._listening > 0

    @property
    def topics(self) -> set[str]:
        """The topics that publications are wanted of."""
        return {pause.topic for _, _, pause in self._sleeping if pause.topic is not None}

    @property
    def resting_until(self) -> float | None:
        """If every pause allows that the task is suspended: until when, by the store's clock, at most infinity. Running
        time stands still then, so the time of scopes does not count. None if one does not, or there is none."""
        pauses = [pause for _, _, pause in self._sleeping]
        rests = bool(pauses) and all(pause.suspends for pause in pauses)
        return min(pause.due for pause in pauses) if rests else None

    def end_due(self) -> None:
        """End the pauses that are over."""
        while self._sleeping and self._sleeping[0][0] <= self._elapsed():
            self._end(heapq.heappop(self._sleeping)[2])

    def halted(self) -> None:
        """Some scope was halted: `end_halted` has something to do."""
        self._halted = True

    def end_halted(self) -> bool:
        """End the pauses whose scope was halted, if any was since the last time; whether there were such."""
        if not self._halted:
            return False
        self._halted = False
        return self._end_all(lambda pause: pause.scope.halt is not None)

    def end_listening(self) -> None:
        """News has come."""
        self._end_all(lambda pause: pause.listens)

    def _end(self, pause: Pause) -> None:
        self._listening -= pause.listens
        pause.over.keep(None)

    def _end_all(self, ends: Callable[[Pause], bool]) -> bool:
        before, self._sleeping = self._sleeping, []
        for entry in before:
            if ends(entry[2]):
                self._end(entry[2])
            else:
                self._sleeping.append(entry)
        heapq.heapify(self._sleeping)
        return len(self._sleeping) < len(before)
