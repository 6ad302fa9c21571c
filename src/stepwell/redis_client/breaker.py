"""The breaker: keeps calls away from a Redis that does not answer, until a probe in the background sees it answer."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stepwell.errors import NotDelivered, Unavailable

log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds between two probes, give or take a fifth."""


@dataclass(frozen=True, slots=True)
class RedisState:
    """Whether Redis does what it is asked; if not, since when (seconds since 1970) and why.

    `reads` is true where it refuses only writes (no memory left, its disk fails).
    """

    answers: bool = True
    since: float | None = None
    reason: str | None = None
    reads: bool = True


class Breaker:
    """Remembers failures. With a `probe` it is open from a failure on, and a thread asks until Redis answers again.

    `probe` raises `Unavailable` as long as Redis does not answer. Without one nothing is ever kept away: the state
    is that of the last call.
    """

    def __init__(self, probe: Callable[[], None] | None) -> None:
        self.state = RedisState()
        self._probe = probe
        self._lock = threading.Lock()
        self._probing = False
        self._closed = threading.Event()

    def check(self) -> None:
        """Raise `NotDelivered` while Redis is known not to answer."""
        state = self.state
        if self._probe is not None and not state.reads:
            raise NotDelivered(f"{state.reason} (asked again in the background)")

    def failed(self, error: Unavailable, reads: bool) -> None:
        """Note a failure; `reads` if only writes are refused: then calls go on, since reads may succeed."""
        with self._lock:
            self._note(error, reads)
            if self._probe is not None and not self._probing and not self._closed.is_set():
                threading.Thread(target=self._ask_until_it_answers, name="redis-probe", daemon=True).start()
                self._probing = True

    def succeeded(self) -> None:
        """Note that a call was answered. One that succeeds does not tell whether writes do: a probe decides that."""
        if self._probe is None and not self.state.answers:
            self.state = RedisState()

    def close(self) -> None:
        """Let the probe end."""
        self._closed.set()

    def _note(self, error: Unavailable, reads: bool) -> None:
        since = self.state.since or time.time()
        self.state = RedisState(answers=False, since=since, reason=str(error), reads=reads)

    def _ask_until_it_answers(self) -> None:
        told = False
        while True:
            try:
                if self._answers():
                    return
            except Exception:  # the thread must live on: without it nothing is asked of Redis again
                if not told:
                    log.exception("asking whether Redis is back failed")
                told = True
            if self._closed.wait(PAUSE * random.uniform(0.8, 1.2)):
                return

    def _answers(self) -> bool:
        assert self._probe is not None
        try:
            self._probe()
        except Unavailable:
            return False
        with self._lock:  # both at once: a failure after this starts a thread of its own
            self.state = RedisState()
            self._probing = False
        return True
