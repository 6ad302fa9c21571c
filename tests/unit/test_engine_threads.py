"""Interrupts of threads, at the level of the interpreter."""

from __future__ import annotations

import subprocess
import sys

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
