"""One thread that calls back when a time has come: time limits, and flushes of logs and progress."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable

TOLERANCE = 0.001
"""Seconds: for so little the thread is not woken, since steps of one task have nearly the same time limit."""

CROWD = 1000
"""From so many alarms on, cancelled ones are swept out as soon as they are the most."""


class Alarm:
    """A callback that is due once; `cancel` is for when it is no longer wanted."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call back (harmless if it was already)."""
        self.callback = None


class Watchdog:
    """Calls back on its own daemon thread, which starts with the first alarm. Callbacks must be quick."""

    def __init__(self) -> None:
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sweep_at = CROWD
        self._wakes_at = math.inf

    def after(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Call back in so many seconds."""
        alarm = Alarm(callback)
        due = time.monotonic() + min(seconds, threading.TIMEOUT_MAX)
        with self._changed:
            if len(self._alarms) >= self._sweep_at:
                self._sweep()
            heapq.heappush(self._alarms, (due, next(self._numbers), alarm))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="stepwell-watchdog", daemon=True)
                self._thread.start()
            elif due < self._wakes_at - TOLERANCE:
                self._changed.notify()
        return alarm

    def _sweep(self) -> None:
        self._alarms = [entry for entry in self._alarms if entry[2].callback is not None]
        heapq.heapify(self._alarms)
        self._sweep_at = max(CROWD, 2 * len(self._alarms))

    def _watch(self) -> None:
        while True:
            callback = self._next().callback
            if callback is not None:
                callback()

    def _next(self) -> Alarm:
        with self._changed:
            while True:
                while self._alarms and self._alarms[0][2].callback is None:
                    heapq.heappop(self._alarms)
                self._wakes_at = self._alarms[0][0] if self._alarms else math.inf
                pause = self._wakes_at - time.monotonic()
                if pause <= 0:
                    return heapq.heappop(self._alarms)[2]
                self._changed.wait(min(pause, threading.TIMEOUT_MAX))
