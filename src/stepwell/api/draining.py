"""Stopping: tasks are handed back once, however many ask for it."""

from __future__ import annotations

import threading

from stepwell.wiring import System


class Drain:
    """Has a system drain on a thread of its own, so that requests can be answered meanwhile."""

    def __init__(self, system: System) -> None:
        self._lock = threading.Lock()
        self._begun = False
        self._thread = threading.Thread(target=system.drain, name="stepwell-drain", daemon=True)

    def begin(self) -> None:
        """Take nothing new from now on."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self._thread.start()

    def wait(self) -> None:
        """Begin, and return when nothing runs any more."""
        self.begin()
        self._thread.join()
