"""The parent's side of one work-horse: its process, its place on the board, and whether it has to be killed."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections.abc import Callable, Sequence

from stepwell.engine.attempt import GRACE
from stepwell.worker.board import Place, Work
from stepwell.worker.forking import fork
from stepwell.worker.keeper import is_stopped
from stepwell.worker.pipes import Lost, Rein

HARD_GRACE = GRACE + 5.0
"""Seconds after the time limit of a step until its work-horse is killed: it did not interrupt the step, nor give it up
and end by itself, so its interpreter is blocked."""

SILENCE = 30.0
"""Seconds without a sign of life, while no step runs, until a work-horse is killed."""

BACK_OFF = (0.0, 0.2, 1.0, 3.0, 10.0)
"""Seconds before the next try, after so many work-horses that died before they took tasks."""

RunHorse = Callable[[str, Place, Rein], int]
"""What a work-horse does, given its name; it answers the exit code."""


class Stall:
    """A place for a work-horse, and the one that is there now."""

    def __init__(self, place: Place, run: RunHorse) -> None:
        self.place, self._run = place, run
        self.rein = Rein()
        self.pid = 0
        self.name = ""
        self._failures, self._free_since = 0, 0.0
        self._awake_since = 0.0
        self._forgiven = False
        self._guilty: Sequence[Work] = ()

    @property
    def ready(self) -> bool:
        """Whether a work-horse is here that takes tasks."""
        horse = self.place.horse
        return bool(self.pid and horse and horse.ready)

    def may_fork(self, now: float) -> bool:
        """Whether it is empty, and those before did not die one after the other as soon as they came."""
        return not self.pid and now >= self._free_since + BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]

    def fork(self, now: float, in_child: Callable[[Stall], None]) -> None:
        """Put a new work-horse here; `in_child` is called in it, to let go of what belongs to others."""
        self.place.clear()
        self._guilty, self._forgiven, self._awake_since = (), False, now
        mark = secrets.token_hex(2)

        def run() -> int:
            in_child(self)
            return self._run(_name(os.getpid(), mark), self.place, self.rein)

        self.pid = fork("stepwell-horse", run)
        self.name = _name(self.pid, mark)

    def ended(self, now: float) -> Lost:
        """The work-horse is dead: what is to be done with its tasks."""
        horse = self.place.horse
        self._failures = 0 if horse and horse.ready else self._failures + 1
        on_purpose = self._forgiven or bool(horse and horse.leaving)
        guilty = {work.token for work in self._guilty}
        spared = tuple((work.task_id, work.token) for work in self.place.works if work.token not in guilty)
        lost = Lost(self.name, not on_purpose, spared if guilty else ())
        self.pid, self._free_since = 0, now
        return lost

    def kill(self) -> None:
        """Kill the work-horse for no fault of its own."""
        if self.pid:
            self._forgiven = True
            os.kill(self.pid, signal.SIGKILL)

    def pardon(self, now: float) -> None:
        """This process was held itself: for a while nothing can be said against the work-horse."""
        self._awake_since = now

    def judge(self, now: float) -> str | None:
        """Kill the work-horse if it must be; answers why."""
        if not self.pid:
            return None
        if is_stopped(self.pid):  # somebody holds it on purpose; its leases are not renewed
            self._awake_since = now
            return None
        works = self.place.works
        late = [work for work in works if now > max(work.until, self._awake_since) + HARD_GRACE]
        if late:
            self._guilty = late
            os.kill(self.pid, signal.SIGKILL)
            steps = ", ".join(f"{work.path} of task {work.task_id}" for work in late)
            return f"its interpreter is blocked, and the time limit was over for {steps}"
        runs = any(work.path is not None for work in works)
        if not runs and now > max(self.place.beaten_at, self._awake_since) + SILENCE:
            os.kill(self.pid, signal.SIGKILL)
            return f"it gave no sign of life for {SILENCE:g} s"
        return None


def _name(pid: int, mark: str) -> str:
    return f"{socket.gethostname()}.{pid}.{mark}"
