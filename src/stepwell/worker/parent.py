"""The parent of a worker: forks work-horses and the keeper, watches them, and replaces those that die.

It has no threads and no connections, because it forks, and it runs no user code. All that it knows of its children
it reads from the board; all that the store has to be told of them it leaves to the keeper.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from stepwell.worker.board import Board
from stepwell.worker.forking import fork
from stepwell.worker.pipes import Link, Lost, Rein, as_order
from stepwell.worker.stall import BACK_OFF, SILENCE, RunHorse, Stall

log = logging.getLogger(__name__)

TURN = 0.5
"""Seconds between two looks at the work-horses."""

FIRST_TURN = 0.02
"""The same until all work-horses are there, since nothing but their places tells that they are ready."""

GAP = 3.0
"""Seconds between two turns from which on this process must have been held (SIGSTOP, a machine asleep)."""

AFTER_DRAIN = 8.0
"""Seconds after `SHUTDOWN_TIMEOUT` in which interrupted steps end and tasks are handed back."""

AT_ONCE = 1.0
"""Seconds for the same after a second signal."""

HICCUP = 0.25
"""Seconds within which signals count as one: a terminal and a program in between often both send theirs."""

STEADY = 10.0
"""Seconds that a keeper has to live so that the next one is forked at once: what it cannot bear may come again."""

FAREWELL = 12.0
"""Seconds that the keeper has for its last words."""

WRONG_SETTINGS = 2
"""The exit code of a child that cannot work with the settings; it has said why."""

RunKeeper = Callable[[Board, Sequence[Rein], Link], int]
"""What the keeper does; it answers the exit code."""


class Parent:
    """A worker: `run` returns when it was told to end by SIGTERM or SIGINT."""

    def __init__(
        self, horses: int, lanes: int, shutdown_timeout: float, run_horse: RunHorse, run_keeper: RunKeeper
    ) -> None:
        """`horses` work-horses, each with so many `lanes`."""
        self._board = Board(horses, lanes)
        self._stalls = [Stall(place, run_horse) for place in self._board.places]
        self._run_keeper, self._shutdown_timeout = run_keeper, shutdown_timeout
        self._link = Link()
        self._keeper, self._keeper_failures, self._keeper_since = 0, 0, 0.0
        self._lost: dict[str, Lost] = {}
        self._signals: list[float] = []
        self._obeyed = 0
        self._kill_at: float | None = None
        self._settled = False
        self._code = 0
        self._awake: tuple[int, int]

    def run(self, ready: Callable[[], None]) -> int:
        """Work until a signal comes; `ready` is called once, when all work-horses take tasks. Answers the exit code."""
        self._handle_signals()
        told, last = False, time.monotonic()
        while self._kill_at is None or self._any_horse():
            now = time.monotonic()
            if now - last > GAP:
                self._pardon(now)
            last = now
            self._reap(now)
            self._obey_signals(now)
            self._staff(now)
            self._watch(now)
            if not told and self._kill_at is None and all(stall.ready for stall in self._stalls):
                told = True
                self._order(state="running")  # so that all work-horses are shown at once
                ready()
            self._wait(TURN if told else FIRST_TURN)
        self._end_keeper()
        return self._code

    # -- children ----------------------------------------------------------------------------------------------------

    def _staff(self, now: float) -> None:
        """Fork who is missing."""
        if not self._keeper and now >= self._keeper_since + BACK_OFF[min(self._keeper_failures, len(BACK_OFF) - 1)]:
            self._fork_keeper(now)
        keeper = self._board.keeper.horse
        self._settled = self._settled or bool(keeper and keeper.ready)  # one child finds out about wrong settings first
        for stall in self._stalls:
            if self._settled and self._kill_at is None and stall.may_fork(now):
                stall.fork(now, self._let_go)

    def _fork_keeper(self, now: float) -> None:
        self._link.close()
        self._link = Link()
        self._board.keeper.clear()
        self._keeper_since = now
        self._keeper = fork("stepwell-keeper", self._as_keeper, outlives=True)
        for lost in self._lost.values():
            self._order(**as_order(lost))
        if self._kill_at is not None:
            self._order(state="draining")

    def _as_keeper(self) -> int:
        self._close_signals()
        self._link.only_keep()
        return self._run_keeper(self._board, [stall.rein for stall in self._stalls], self._link)

    def _let_go(self, own: Stall) -> None:
        """In a new work-horse: close what belongs to the others."""
        self._close_signals()
        self._link.close()
        for stall in self._stalls:
            if stall is own:
                stall.rein.only_listen()
            else:
                stall.rein.leave()

    def _reap(self, now: float) -> None:
        """Wait for children that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, status, now)

    def _ended(self, pid: int, status: int, now: float) -> None:
        code = os.waitstatus_to_exitcode(status)
        if pid == self._keeper:
            if code not in (0, WRONG_SETTINGS):
                log.error("the keeper ended (%s)", _how(code))
            steady = now - self._keeper_since >= STEADY
            self._keeper_failures = 0 if steady else self._keeper_failures + 1
            self._keeper, self._keeper_since = 0, now
        for stall in self._stalls:
            if stall.pid == pid:
                was_ready = stall.ready
                self._lose(stall.ended(now), code)
                code = 0 if was_ready else code
        if code == WRONG_SETTINGS:
            self._code = self._code or code
            self._drain(now, 0.0)

    def _lose(self, lost: Lost, code: int) -> None:
        log.log(logging.ERROR if lost.crashed else logging.INFO, "work-horse %s ended (%s)", lost.name, _how(code))
        self._lost[lost.name] = lost
        self._order(**as_order(lost))

    def _any_horse(self) -> bool:
        return any(stall.pid for stall in self._stalls)

    # -- watching ----------------------------------------------------------------------------------------------------

    def _watch(self, now: float) -> None:
        for stall in self._stalls:
            if reason := stall.judge(now):
                log.error("work-horse %s is killed: %s", stall.name, reason)
            elif self._kill_at is not None and now >= self._kill_at and stall.pid:
                log.warning("work-horse %s is killed, it did not end in time", stall.name)
                self._code = self._code or 1
                stall.kill()
        keeper = self._board.keeper
        if self._keeper and now > max(keeper.beaten_at, self._keeper_since) + SILENCE:
            log.error("the keeper is killed: it gave no sign of life for %g s", SILENCE)
            os.kill(self._keeper, signal.SIGKILL)
            self._keeper_since = now

    def _pardon(self, now: float) -> None:
        self._keeper_since = now
        for stall in self._stalls:
            stall.pardon(now)

    # -- orders to the keeper ----------------------------------------------------------------------------------------

    def _order(self, **what: object) -> None:
        with suppress(OSError):  # it is dead or stuck: the next one is told again
            self._link.order(**what)

    def _hear(self) -> None:
        """Forget the dead of whom the keeper has taken care."""
        try:
            for name in self._link.done():
                self._lost.pop(name, None)
        except (EOFError, OSError):  # it is dead, which `_reap` finds out
            return

    # -- signals and the end -----------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self._awake = reading, writing
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._signals or now - self._signals[-1] > HICCUP:
            self._signals.append(now)

    def _close_signals(self) -> None:
        for end in self._awake:
            os.close(end)

    def _wait(self, seconds: float) -> None:
        """Until a signal comes, or a word of the keeper, or so many seconds are over."""
        waking, link = self._awake[0], self._link.fileno()
        readable, _, _ = select.select([waking, link] if self._keeper else [waking], [], [], seconds)
        if waking in readable:
            os.read(waking, 4096)
        if link in readable:
            self._hear()

    def _obey_signals(self, now: float) -> None:
        while self._obeyed < len(self._signals):
            self._obeyed += 1
            if self._obeyed == 1:
                log.info(
                    "no more tasks are taken; steps that run have %g s to end, a second signal hands them back at once",
                    self._shutdown_timeout,
                )
                self._drain(now, self._shutdown_timeout)
            elif self._obeyed == 2:
                log.info("all tasks are handed back at once")
                self._drain(now, 0.0)

    def _drain(self, now: float, seconds: float) -> None:
        """Have all work-horses end, in so many seconds."""
        for stall in self._stalls:
            stall.rein.say("drain" if seconds else "hurry")
        self._order(state="draining")
        self._kill_at = now + (seconds + AFTER_DRAIN if seconds else AT_ONCE)

    def _end_keeper(self) -> None:
        """Let it take care of the dead, and end."""
        self._order(stop=True)
        deadline = time.monotonic() + FAREWELL
        while self._keeper and time.monotonic() < deadline:
            self._reap(time.monotonic())
            if self._keeper:
                self._wait(TURN)
        if self._keeper:
            os.kill(self._keeper, signal.SIGKILL)
            os.waitpid(self._keeper, 0)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
