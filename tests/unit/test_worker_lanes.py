"""Claims of a work-horse: whose lease it is sure of, and what it asks the store otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.tasks import queued

from stepwell.errors import ClaimLost, Unavailable
from stepwell.ports import Lease
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask
from stepwell.worker.board import Board, Lane, Work
from stepwell.worker.lanes import Lanes

LEASE = 10.0


class Counted(MemoryStore):
    """A store that counts renewals, and may be away."""

    def __init__(self) -> None:
        self.time, self.renewals, self.away = 1000.0, 0, False
        super().__init__(lambda: self.time, lease_seconds=LEASE)

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        self.renewals += 1
        if self.away:
            raise Unavailable("gone fishing")
        return super().renew(claims)


class Told:
    """A run, as far as its lease concerns it."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def cancel(self) -> None:
        self.words.append("cancel")

    def lose(self) -> None:
        self.words.append("lose")


@pytest.fixture
def store() -> Counted:
    return Counted()


@pytest.fixture
def lane() -> Lane:
    return Board(horses=1, lanes=1).places[0].lanes[0]


@pytest.fixture
def lanes(store: Counted, lane: Lane) -> Lanes:
    return Lanes(store, [lane], LEASE, elapsed=lambda: store.time)


def claimed(store: Counted) -> None:
    model = queued("a")
    store.create(NewTask("a", "w", model.definition, '{"steps": [{"output": 1}]}', model.queue, 1, "{}", 60.0, 0))
    assert store.claim("a", "t", "me") is not None


def test_a_claim_is_shown_until_it_ends(store: Counted, lane: Lane, lanes: Lanes) -> None:
    lanes.hold("a", "t", 1000.0, Told())
    assert lane.work == Work("a", "t", 1000.0)
    lanes.doing("a", "t", "step", 1003.0)
    assert lane.work == Work("a", "t", 1000.0, "step", 1003.0)
    lanes.drop("a", "t")
    assert lane.work is None
    lanes.doing("a", "t", "late", 1004.0)
    assert lane.work is None


def test_a_fresh_lease_is_not_asked_for(store: Counted, lanes: Lanes) -> None:
    claimed(store)
    lanes.hold("a", "t", store.time, Told())
    store.time += 8.9
    lanes.confirm("a", "t")
    assert store.renewals == 0


def test_what_the_keeper_was_granted_counts(store: Counted, lane: Lane, lanes: Lanes) -> None:
    claimed(store)
    lanes.hold("a", "t", store.time, Told())
    lane.grant("t", store.time + 100)
    store.time += 50
    lanes.confirm("a", "t")
    assert store.renewals == 0


def test_what_was_granted_to_the_claim_before_does_not_count(store: Counted, lane: Lane, lanes: Lanes) -> None:
    claimed(store)
    lane.grant("before", store.time + 100)
    lanes.hold("a", "t", store.time, Told())
    store.time += 50
    lanes.confirm("a", "t")
    assert store.renewals == 1


def test_a_lease_about_to_end_is_renewed_before_a_step_starts(store: Counted, lanes: Lanes) -> None:
    claimed(store)
    lanes.hold("a", "t", store.time, Told())
    store.time += 9.1
    lanes.confirm("a", "t")
    lanes.confirm("a", "t")
    assert store.renewals == 1


def test_no_step_starts_once_another_has_the_task(store: Counted, lanes: Lanes) -> None:
    claimed(store)
    lanes.hold("a", "t", store.time, Told())
    store.time += 11
    store.reap()
    with pytest.raises(ClaimLost):
        lanes.confirm("a", "t")


def test_no_step_starts_while_nobody_tells_whose_the_task_is(store: Counted, lanes: Lanes) -> None:
    claimed(store)
    lanes.hold("a", "t", store.time, Told())
    store.time += 11
    store.away = True
    with pytest.raises(Unavailable):
        lanes.confirm("a", "t")


def test_words_of_the_keeper_reach_the_run_of_their_claim_only(lanes: Lanes) -> None:
    run = Told()
    lanes.hold("a", "t", 1000.0, run)
    lanes.lose("other")
    lanes.cancel("t")
    lanes.lose("t")
    lanes.drop("a", "t")
    lanes.lose("t")
    assert run.words == ["cancel", "lose"]
