"""Interrupts of threads, at the level of the interpreter."""

from __future__ import annotations

import subprocess
import sys
import threading
from queue import SimpleQueue

import pytest

from stepwell.engine import threads

TRACED = """
import cProfile
from stepwell.engine.threads import forget_raised

def work():
    forget_raised()
    return sum(number for number in range(1000))

assert cProfile.Profile().runcall(work) == 499500
"""


def test_a_dropped_interrupt_leaves_the_interpreter_as_it_was() -> None:
    """A pending exception that is set to NULL makes CPython 3.11 hang under a tracer; so in a process of its own."""
    subprocess.run([sys.executable, "-c", TRACED], check=True, timeout=60)


def test_a_thread_that_has_nothing_to_do_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.01)
    pool, ran = threads.Threads(), SimpleQueue[threading.Thread]()
    for _ in range(100):  # some find the thread that is about to end
        pool.run(lambda: ran.put(threading.current_thread()))
    used = {ran.get(timeout=10) for _ in range(100)}
    for thread in used:
        thread.join(10)
    assert not any(thread.is_alive() for thread in used)
    pool.run(lambda: ran.put(threading.current_thread()))
    assert ran.get(timeout=10) not in used
