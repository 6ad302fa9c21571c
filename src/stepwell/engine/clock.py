"""The time of a run: monotonic seconds, and waiting for a message until a time has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

Message = Callable[[], None]


class Clock:
    """The real one; tests give the engine one that jumps instead of waiting."""

    def elapsed(self) -> float:
        """Monotonic seconds from some unknown beginning."""
        return time.monotonic()

    def receive(self, inbox: SimpleQueue[Message], until: float | None) -> Message | None:
        """The next message; None once `elapsed() >= until`, if that is given."""
        if until is None:
            return inbox.get()
        try:
            return inbox.get(timeout=max(0.0, until - self.elapsed()))
        except Empty:
            return None
