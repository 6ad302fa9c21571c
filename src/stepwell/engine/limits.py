"""Which of the attempts that run is to end next: who watches from outside is told whenever that changes."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections.abc import Callable

from stepwell.engine.attempt import Attempt


class Limits:
    """The running attempts of a task by the time at which they must have ended, in monotonic seconds.

    `tell` is given the path and the time of the first of them; None and infinity when nothing runs. An attempt is
    not kept beyond its end: its inputs and its output may be large.
    """

    def __init__(self, tell: Callable[[str | None, float], None]) -> None:
        self._tell = tell
        self._numbers = itertools.count()
        self._running: dict[Attempt, int] = {}
        self._order: list[tuple[float, int, str]] = []
        """By time, number and path; those that have ended are left out when they come first."""
        self._live: set[int] = set()
        self._lock = threading.Lock()
        self._told: tuple[str | None, float] = (None, math.inf)

    def add(self, attempt: Attempt, until: float) -> None:
        """This attempt starts, and is to end at `until`."""
        with self._lock:
            if not attempt.ended:
                number = self._running[attempt] = next(self._numbers)
                self._live.add(number)
                heapq.heappush(self._order, (until, number, attempt.context.path))
            self._look()

    def remove(self, attempt: Attempt) -> None:
        """This attempt has ended, or was given up; from any thread."""
        with self._lock:
            self._live.discard(self._running.pop(attempt, -1))
            self._look()

    def _look(self) -> None:
        while self._order and self._order[0][1] not in self._live:
            heapq.heappop(self._order)
        now = (self._order[0][2], self._order[0][0]) if self._order else (None, math.inf)
        if now != self._told:
            self._told = now
            self._tell(*now)
