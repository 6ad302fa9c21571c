"""Which attempt is to end next, and that one which has ended is not kept."""

from __future__ import annotations

import math
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from stepwell.engine.limits import Limits

Told = list[tuple[str | None, float]]


class Running:
    """What is asked of an attempt."""

    def __init__(self, path: str, ended: bool = False) -> None:
        self.context, self.ended = SimpleNamespace(path=path), ended


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def limits(told: Told) -> Limits:
    return Limits(lambda path, until: told.append((path, until)))


def running(path: str, ended: bool = False) -> Any:
    return Running(path, ended)


def test_the_first_that_is_to_end_is_told_whenever_it_changes(limits: Limits, told: Told) -> None:
    late, early = running("late"), running("early")
    limits.add(late, 20.0)
    limits.add(early, 10.0)
    limits.remove(early)
    limits.remove(late)
    assert told == [("late", 20.0), ("early", 10.0), ("late", 20.0), (None, math.inf)]


def test_one_that_ended_before_it_was_added_counts_no_more(limits: Limits, told: Told) -> None:
    limits.add(running("quick", ended=True), 10.0)
    assert told == []


def test_what_ended_is_not_kept_while_another_is_to_end_earlier(limits: Limits, told: Told) -> None:
    """Its output may be large, and a branch that runs for hours may have thousands of short steps beside it."""
    limits.add(long := running("long"), 10.0)
    short = running("short")
    limits.add(short, 20.0)
    limits.remove(short)
    kept = weakref.ref(short)
    del short
    assert kept() is None
    limits.remove(long)
    assert told == [("long", 10.0), (None, math.inf)]
