"""Signals that a step takes for itself are given back."""

from __future__ import annotations

import signal

from stepwell.worker.forking import QUIET
from stepwell.worker.surroundings import Surroundings


def test_the_handlers_of_a_worker_are_put_back() -> None:
    before = {number: signal.getsignal(number) for number in QUIET}
    surroundings = Surroundings()
    try:
        for number in QUIET:
            signal.signal(number, lambda _number, _frame: None)
        surroundings.restore()
        assert {number: signal.getsignal(number) for number in QUIET} == before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
