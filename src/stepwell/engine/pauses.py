"""What fibers wait for besides attempts: a free slot, and the end of a pause."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

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


class Pauses:
    """Pauses of fibers, by the time they are over on the run's clock."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._sleeping: list[tuple[float, int, Promise[None], Scope]] = []
        self._numbers = itertools.count()

    def __bool__(self) -> bool:
        return bool(self._sleeping)

    @property
    def next_end(self) -> float | None:
        """When the first pause is over."""
        return self._sleeping[0][0] if self._sleeping else None

    def begin(self, seconds: float, scope: Scope) -> Promise[None]:
        """A pause, which ends early when its scope is halted."""
        promise: Promise[None] = Promise()
        heapq.heappush(self._sleeping, (self._elapsed() + seconds, next(self._numbers), promise, scope))
        return promise

    def end_due(self) -> None:
        """End the pauses that are over."""
        while self._sleeping and self._sleeping[0][0] <= self._elapsed():
            heapq.heappop(self._sleeping)[2].keep(None)

    def end_halted(self) -> None:
        """End the pauses whose scope was halted."""
        for _, _, promise, scope in self._sleeping:
            if scope.halt:
                promise.keep(None)
        self._sleeping = [entry for entry in self._sleeping if not entry[2].done]
        heapq.heapify(self._sleeping)
