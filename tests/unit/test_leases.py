"""Leases: renewed for all claims in one call, and what runs are told when the store says no."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.tasks import queued

from stepwell.engine.leases import Leases
from stepwell.errors import ClaimLost, Unavailable
from stepwell.ports import Lease
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask

SINCE = 0.0
"""When a claim was asked for, where that does not matter."""


class Counted(MemoryStore):
    """A store that counts renewals, and may be away."""

    def __init__(self) -> None:
        self.time = 1000.0
        super().__init__(lambda: self.time, lease_seconds=10)
        self.calls: list[int] = []
        self.away = False

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        self.calls.append(len(claims))
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
def leases(store: Counted) -> Leases:
    return Leases(store, lease_seconds=3600)  # its own thread does not come to renew during a test


def claimed(store: Counted, task_id: str, token: str = "t") -> None:
    model = queued(task_id)
    definition = '{"steps": [{"output": 1}]}'
    store.create(NewTask(task_id, "w", model.definition, definition, model.queue, 1, "{}", 60.0, 0))
    assert store.claim(task_id, token, "me") is not None


def test_all_claims_are_renewed_in_one_call(store: Counted, leases: Leases) -> None:
    runs = {name: Told() for name in ("a", "b", "c")}
    for name, run in runs.items():
        claimed(store, name)
        leases.hold(name, "t", SINCE, run)
    for _ in range(4):
        store.time += 6
        leases.renew()
    assert store.calls == [3, 3, 3, 3]
    assert store.reap() == []
    assert all(run.words == [] for run in runs.values())


def test_a_claim_that_another_took_is_told(store: Counted, leases: Leases) -> None:
    run = Told()
    claimed(store, "a")
    leases.hold("a", "t", SINCE, run)
    store.time += 11
    store.reap()
    assert store.claim("a", "other", "them") is not None
    leases.renew()
    assert run.words == ["lose"]


def test_a_requested_cancel_is_told(store: Counted, leases: Leases) -> None:
    run = Told()
    claimed(store, "a")
    leases.hold("a", "t", SINCE, run)
    store.cancel("a", force=True)
    leases.renew()
    assert run.words == ["cancel"]


def test_a_store_that_is_away_costs_no_claim(store: Counted, leases: Leases) -> None:
    run = Told()
    claimed(store, "a")
    leases.hold("a", "t", SINCE, run)
    store.away = True
    leases.renew()
    store.away = False
    leases.renew()
    assert run.words == []


def test_an_old_claims_end_drops_no_newer_one(store: Counted, leases: Leases) -> None:
    leases.hold("a", "old", SINCE, Told())
    leases.hold("a", "new", SINCE, Told())
    leases.drop("a", "old")
    leases.renew()
    assert store.calls == [1]
    leases.drop("a", "new")
    leases.renew()
    assert store.calls == [1]


def test_a_step_starts_only_under_a_lease_that_lasts(store: Counted) -> None:
    leases = Leases(store, 10, elapsed=lambda: store.time)
    claimed(store, "a")
    leases.hold("a", "t", store.time, Told())
    store.time += 8
    leases.confirm("a", "t")
    assert store.calls == []
    store.time += 1
    leases.confirm("a", "t")
    assert store.calls == [1]
    store.time += 11
    store.reap()
    with pytest.raises(ClaimLost):
        leases.confirm("a", "t")
    leases.drop("a", "t")
    with pytest.raises(ClaimLost):
        leases.confirm("a", "t")
