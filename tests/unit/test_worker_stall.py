"""When a parent kills a work-horse, and what becomes of the tasks of a dead one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.acceptance.serving import eventually

from stepwell.worker.board import Board, Horse, Place, Work
from stepwell.worker.keeper import is_stopped
from stepwell.worker.pipes import Rein
from stepwell.worker.stall import HARD_GRACE, SILENCE, Stall

BEGIN = 1000.0


def idle(name: str, place: Place, rein: Rein) -> int:
    """A work-horse that only waits until it is told anything."""
    place.introduce(Horse(name, os.getpid(), ready=True))
    while not rein.hear(1.0):
        pass
    return 0


@pytest.fixture
def stall() -> Iterator[Stall]:
    """One with a work-horse that is ready, and has just shown that it is alive."""
    stall = Stall(Board(horses=1, lanes=3).places[0], idle)
    stall.fork(BEGIN, lambda _: None)
    eventually(lambda: stall.ready)
    stall.place.beat(BEGIN)
    yield stall
    if stall.pid:
        os.kill(stall.pid, signal.SIGKILL)
        os.waitpid(stall.pid, 0)


def end(stall: Stall) -> int:
    """How its process ended."""
    return os.waitstatus_to_exitcode(os.waitpid(stall.pid, 0)[1])


def test_a_step_within_its_limit_and_grace_goes_on(stall: Stall) -> None:
    stall.place.lanes[0].show(Work("t", "k", BEGIN, "step", BEGIN + 100))
    assert stall.judge(BEGIN + 100 + HARD_GRACE) is None


def test_a_step_beyond_both_is_killed_and_its_siblings_are_spared(stall: Stall) -> None:
    stall.place.lanes[0].show(Work("guilty", "k1", BEGIN, "step", BEGIN + 100))
    stall.place.lanes[1].show(Work("victim", "k2", BEGIN, "other", BEGIN + 500))
    assert "step of task guilty" in (stall.judge(BEGIN + 101 + HARD_GRACE) or "")
    assert end(stall) == -signal.SIGKILL
    lost = stall.ended(BEGIN + 200)
    assert (lost.crashed, lost.spared) == (True, (("victim", "k2"),))


def test_whoever_is_held_is_not_judged_until_it_had_its_time_again(stall: Stall) -> None:
    stall.place.lanes[0].show(Work("t", "k", BEGIN, "step", BEGIN + 1))
    os.kill(stall.pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(stall.pid))
    assert stall.judge(BEGIN + 1000) is None
    os.kill(stall.pid, signal.SIGCONT)
    eventually(lambda: not is_stopped(stall.pid))
    assert stall.judge(BEGIN + 1000 + HARD_GRACE) is None
    assert stall.judge(BEGIN + 1001 + HARD_GRACE) is not None


def test_a_parent_that_was_held_itself_forgives(stall: Stall) -> None:
    stall.place.lanes[0].show(Work("t", "k", BEGIN, "step", BEGIN + 1))
    stall.pardon(BEGIN + 1000)
    assert stall.judge(BEGIN + 1000 + HARD_GRACE) is None


def test_silence_is_no_fault_while_a_step_runs(stall: Stall) -> None:
    stall.place.lanes[0].show(Work("t", "k", BEGIN, "step", BEGIN + 3600))
    assert stall.judge(BEGIN + SILENCE + 1) is None


def test_silence_without_a_step_is_the_end(stall: Stall) -> None:
    assert stall.judge(BEGIN + SILENCE) is None
    assert "no sign of life" in (stall.judge(BEGIN + SILENCE + 1) or "")


def test_who_dies_by_itself_crashed_and_who_leaves_did_not(stall: Stall) -> None:
    horse = stall.place.horse
    assert horse is not None
    os.kill(stall.pid, signal.SIGKILL)
    end(stall)
    assert stall.ended(BEGIN).crashed
    stall.fork(BEGIN, lambda _: None)
    eventually(lambda: stall.ready)
    stall.place.introduce(Horse(stall.name, stall.pid, ready=True, leaving=True))
    os.kill(stall.pid, signal.SIGKILL)
    end(stall)
    assert not stall.ended(BEGIN).crashed


def test_who_is_killed_for_no_fault_did_not_crash(stall: Stall) -> None:
    stall.kill()
    assert end(stall) == -signal.SIGKILL
    assert not stall.ended(BEGIN).crashed


def test_after_early_deaths_the_next_one_waits() -> None:
    stall = Stall(Board(horses=1, lanes=1).places[0], lambda _name, _place, _rein: 1)
    now, waited = time.monotonic(), []
    for _ in range(4):
        stall.fork(now, lambda _: None)
        assert end(stall) == 1
        stall.ended(now)
        waited.append(next(pause for pause in (0.0, 0.2, 1.0, 3.0, 10.0) if stall.may_fork(now + pause)))
    assert waited == [0.2, 1.0, 3.0, 10.0]
