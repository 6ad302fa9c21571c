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

    `tell` is given the path and the time of the first of them; None and infinity when nothing runs.
    """

    def __init__(self, tell: Callable[[str | None, float], None]) -> None:
        self._tell = tell
        self._running: list[tuple[float, int, Attempt]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._told: tuple[str | None, float] = (None, math.inf)

    def add(self, attempt: Attempt, until: float) -> None:
        """This attempt starts, and is to end at `until`."""
        with self._lock:
            heapq.heappush(self._running, (until, next(self._numbers), attempt))
            self._look()

    def look(self) -> None:
        """Some attempt may have ended; from any thread."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        while self._running and self._running[0][2].ended:
            heapq.heappop(self._running)
        now = (self._running[0][2].context.path, self._running[0][0]) if self._running else (None, math.inf)
        if now != self._told:
            self._told = now
            self._tell(*now)
