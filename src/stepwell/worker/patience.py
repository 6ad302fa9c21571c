"""Asking again while a store or a queue does not answer."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from stepwell.errors import Unavailable

T = TypeVar("T")

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 0.05, 2.0
"""Seconds between two attempts, at first and after many."""

TELL_EVERY = 20
"""So many failures are told of only once."""


class Patience:
    """Repeats what a store or a queue did not answer, with pauses that grow, until it answers."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def until_it_answers(self, ask: Callable[[], T]) -> T | None:
        """The answer; None if this process is to end before there is one."""
        pause, failures = SHORTEST, 0
        while True:
            try:
                answer = ask()
            except Unavailable as error:
                if failures % TELL_EVERY == 0:
                    log.warning("no answer, it is tried again: %s", error)
                failures += 1
            else:
                if failures:
                    log.info("there are answers again, after %d attempts", failures)
                return answer
            if self._stopping.wait(pause * random.uniform(0.5, 1.0)):
                return None
            pause = min(pause * 2, LONGEST)
