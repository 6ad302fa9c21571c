"""The parent's view of its keeper; with real processes it is tested in `tests/acceptance/test_worker.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stepwell.worker.board import Horse
from stepwell.worker.parent import STEADY, Parent

KEEPER = 12345
KILLED = 9


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent(1, 1, 1.0, lambda *_: 0, lambda *_: 0)
    yield parent
    parent._link.close()


def _die(parent: Parent, lived: float, now: float) -> int:
    """A ready keeper dies after so many seconds; how many have died one after the other."""
    parent._keeper, parent._keeper_since = KEEPER, now - lived
    parent._board.keeper.introduce(Horse("worker", KEEPER, ready=True))
    parent._ended(KEEPER, KILLED, now)
    return parent._keeper_failures


def test_a_keeper_that_dies_again_and_again_is_forked_ever_more_seldom(parent: Parent) -> None:
    """It is ready before it does what it may die of, so that being ready proves nothing."""
    assert [_die(parent, 0.1, now) for now in (100.0, 101.0, 102.0)] == [1, 2, 3]


def test_one_that_lived_for_long_is_replaced_at_once(parent: Parent) -> None:
    _die(parent, 0.1, 100.0)
    assert _die(parent, STEADY, 200.0) == 0
