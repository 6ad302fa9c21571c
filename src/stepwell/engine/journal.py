"""What actions say while they run: log lines and progress, gathered and written at most five times a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.errors import StepwellError
from stepwell.ports import Commit
from stepwell.task import NewEvent

log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds between two flushes."""

MAX_LINES = 10_000
"""Log lines kept of one task; beyond that only their number is."""

MAX_LINE = 8_192
"""Characters kept of one line."""


class Journal:
    """Gathers log lines and progress of one run; `write` is called on a thread of its own, for it may take long."""

    def __init__(self, write: Callable[[Commit], object], watchdog: Watchdog, threads: Threads) -> None:
        self._write, self._watchdog, self._threads = write, watchdog, threads
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._events: list[NewEvent] = []
        self._progress: dict[str, Any] = {}
        self._changed = self._armed = False
        self._lines = 0

    def line(self, path: str, attempt: int, level: str, message: str) -> None:
        """Add a log line of a step."""
        with self._lock:
            self._lines += 1
            if self._lines > MAX_LINES:
                return
            if self._lines == MAX_LINES:
                level, message = "warning", f"more than {MAX_LINES:,} log lines: the rest of this run is not kept"
            data = {"attempt": attempt, "level": level, "message": message[:MAX_LINE]}
            self._events.append(NewEvent("log", path, data))
            self._arm()

    def progress(self, changes: Mapping[str, Any]) -> None:
        """Change some fields of the task's progress."""
        with self._lock:
            self._progress |= changes
            self._changed = True
            self._arm()

    def take(self) -> tuple[tuple[NewEvent, ...], Mapping[str, Any] | None]:
        """What was gathered since the last take, for the commit that is about to be written.

        Waits for a flush that is under way, so that no line is written after the last commit.
        """
        with self._writing:
            return self._taken()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._watchdog.after(PAUSE, lambda: self._threads.run(self._flush))

    def _taken(self) -> tuple[tuple[NewEvent, ...], Mapping[str, Any] | None]:
        with self._lock:
            events, self._events = tuple(self._events), []
            progress = dict(self._progress) if self._changed else None
            self._changed = False
        return events, progress

    def _flush(self) -> None:
        with self._writing:
            with self._lock:
                self._armed = False
            events, progress = self._taken()
            if not events and progress is None:
                return
            try:
                self._write(Commit(events=events, progress=progress))
            except StepwellError as error:  # lines are worth less than the step that wrote them
                log.warning("log lines were not written: %s", error)
