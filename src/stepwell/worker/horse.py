"""A work-horse: takes tasks one after the other and runs them, for thousands of tasks, until it is to end."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stepwell.engine.engine import Engine
from stepwell.ports import Claim, Feed
from stepwell.task import Task
from stepwell.worker import board
from stepwell.worker.forking import leave
from stepwell.worker.lanes import Lanes
from stepwell.worker.patience import Patience
from stepwell.worker.pipes import Rein
from stepwell.worker.surroundings import Surroundings

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two signs of life."""

WAIT = 1.0
"""Seconds for which it waits for a task before it looks whether it is to end."""

LAST_STEPS = 5.0
"""Seconds that other steps of this process have to end after one did not yield to its time limit."""

LAST_WRITES = 2.0
"""Seconds for what is to be written after the last run has ended."""

GROWTH = 512 * 1024**2
"""Bytes that it may grow by before it is replaced by a fresh one."""

MEASURE_EVERY = 20
"""Tasks between two looks at its size."""


@dataclass(frozen=True)
class Harness:
    """What a work-horse works with, made after the fork."""

    engine: Engine
    feed: Feed
    lanes: Lanes


class WorkHorse:
    """Runs tasks on as many threads as it has lanes; the only lane of one is the main thread.

    `harness` makes its connections; it is given this horse's `abandoned`. `shutdown_timeout` is how long running
    steps have when it is told to drain.
    """

    def __init__(
        self,
        name: str,
        place: board.Place,
        rein: Rein,
        max_tasks: int,
        shutdown_timeout: float,
        leave: Callable[[int], None] = leave,
    ) -> None:
        """`leave` ends the process at once."""
        self.name, self._place, self._rein = name, place, rein
        self._left, self._shutdown_timeout, self._leave = max_tasks, shutdown_timeout, leave
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._busy = 0
        self._code = 0
        self._ready = False
        self._harness: Harness | None = None
        self._surroundings = Surroundings()
        self._size = 0

    def run(self, make: Callable[[Callable[[], None]], Harness]) -> int:
        """Work until it is to end; answers the exit code."""
        self._introduce()
        threading.Thread(target=self._listen, name="stepwell-rein", daemon=True).start()
        harness = Patience(self._stopping).until_it_answers(partial(make, self.abandoned))
        if harness is None:
            return 0
        self._harness = harness
        self._size = size()
        for number, _ in enumerate(self._place.lanes[1:], 2):
            threading.Thread(target=self._serve, args=(harness,), name=f"stepwell-lane-{number}", daemon=True).start()
        self._serve(harness)
        self._idle(None)
        self._introduce(leaving=not self._code)
        return self._code

    def abandoned(self) -> None:
        """A step did not yield to its time limit: it goes on, beside all that comes after, until this process ends."""
        log.warning("work-horse %s ends, because a step did not yield to its time limit", self.name)
        self._end_soon(LAST_STEPS)

    # -- the lanes ---------------------------------------------------------------------------------------------------

    def _serve(self, harness: Harness) -> None:
        try:
            self._take_tasks(harness)
        except Exception:  # a defect of ours: the others go on, and a fresh process takes the place of this one
            log.exception("a lane of work-horse %s broke", self.name)
            self._code = 1
            self._end_soon(self._shutdown_timeout)

    def _take_tasks(self, harness: Harness) -> None:
        patience = Patience(self._stopping)
        while not self._stopping.is_set():
            token = secrets.token_hex(16)  # after a lost reply the same token finds what it claimed
            with self._at_work():
                taken = patience.until_it_answers(partial(self._take, harness.feed, token))
                if taken and (claim := taken[0]):
                    self._run(harness, claim, taken[1])
                    continue
            patience.until_it_answers(partial(harness.feed.wait, WAIT))

    def _take(self, feed: Feed, token: str) -> tuple[Claim | None, float]:
        """A claim, and when it was asked for."""
        since = time.monotonic()
        claim = feed.take(token, self.name)
        if not self._ready:
            self._introduce(ready=True)
        return claim, since

    def _run(self, harness: Harness, claim: Claim, since: float) -> None:
        over: Future[None] = Future()
        harness.engine.run_claimed(claim, partial(self._over, harness.feed, claim.token, over), since)
        over.result()  # the run may go on in another thread
        if len(self._place.lanes) == 1:  # else others may be at work in it
            self._surroundings.restore()
        self._left -= 1
        if self._left <= 0 or self._has_grown():
            self._end_soon(self._shutdown_timeout)

    def _over(self, feed: Feed, token: str, over: Future[None], task: Task | None) -> None:
        """A run is over; called once, in another thread if this one is stuck in code that does not yield.

        What rang for it has to be told, or it would show the task as running for as long as this process lives.
        """
        try:
            if task is not None:
                Patience(self._stopping).until_it_answers(partial(feed.ended, task, token))
        finally:
            over.set_result(None)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _idle(self, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _has_grown(self) -> bool:
        return self._left % MEASURE_EVERY == 0 and size() > self._size + GROWTH

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end_soon(self, patience: float) -> None:
        """Take nothing more; what runs has so many seconds to end its steps and is handed back."""
        if self._harness is not None:
            self._harness.engine.begin_drain()
        self._stopping.set()
        log.debug("work-horse %s starts nothing more", self.name)
        threading.Thread(target=self._end, args=(patience,), name="stepwell-end", daemon=True).start()

    def _end(self, patience: float) -> None:
        """End this process when nothing runs any more, even if its main thread is stuck."""
        if self._harness is not None:
            self._harness.engine.drain(patience)
            self._idle(LAST_WRITES)
        self._introduce(leaving=not self._code)
        self._leave(self._code)

    def _listen(self) -> None:
        while True:
            self._place.beat(time.monotonic())
            words = self._rein.hear(BEAT)
            if words is None:  # the parent is gone, and its children go with it
                self._leave(1)
                return
            for word, token in words:
                self._obey(word, token)

    def _obey(self, word: str, token: str) -> None:
        if word == "lose" and self._harness:
            self._harness.lanes.lose(token)
        elif word == "cancel" and self._harness:
            self._harness.lanes.cancel(token)
        elif word == "drain":
            self._end_soon(self._shutdown_timeout)
        elif word == "hurry":
            self._end_soon(0.0)

    def _introduce(self, ready: bool = False, leaving: bool = False) -> None:
        self._ready = ready or leaving
        self._place.introduce(board.Horse(self.name, os.getpid(), self._ready, leaving))


def size() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
