"""The store that goes on with this host's records while the shared one is away: never both, never neither."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.acceptance.serving import eventually
from tests.faults.proxy import ChaosProxy
from tests.servers import RedisServer
from tests.unit.two_stores import AWAY, LEASE, LOST, NOTHING, Both, Clock, ids, new, running

from stepwell import recent
from stepwell.errors import Conflict, NotDelivered, NotFound, QueueFull, Unavailable
from stepwell.ports import Commit, TaskFilter, TaskStore
from stepwell.redis_client import RedisClient
from stepwell.stores.fallback import FallbackStore
from stepwell.stores.memory import MemoryStore
from stepwell.stores.redis import RedisStore
from stepwell.stores.sql import SqlStore
from stepwell.task import AuditEntry, Status, StepRecord, StepStatus


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    clock = Clock()
    local = SqlStore(f"sqlite:///{tmp_path}/stepwell.db", clock=clock, lease_seconds=LEASE)
    yield Both(local, clock)
    local.close()


# -- creating ------------------------------------------------------------------------------------------------------


def test_tasks_are_created_in_the_shared_store(both: Both) -> None:
    task = both.create_shared()
    assert both.homes(task.task_id) == ["shared"]
    assert not both.fallback.is_local(task.task_id)


def test_tasks_are_created_here_while_the_shared_store_is_away(both: Both) -> None:
    task = both.create_locally()
    assert both.homes(task.task_id) == ["local"]
    assert both.fallback.is_local(task.task_id)
    assert both.fallback.why_local == str(AWAY)


def test_a_batch_is_created_here_as_a_whole(both: Both) -> None:
    with both.away():
        created = both.store.create_many([new(), new()])
    assert [both.homes(task.task_id) for task, _ in created] == [["local"], ["local"]]


@pytest.mark.parametrize("keys", [["k"], [None, "k"]])
def test_a_task_with_an_idempotency_key_is_not_created_here(both: Both, keys: list[str | None]) -> None:
    tasks = [new(idempotency_key=key) for key in keys]
    with (
        both.away(),
        pytest.raises(NotDelivered, match=r"idempotency key is not run without the shared store.*cannot be"),
    ):
        both.store.create_many(tasks)
    assert [both.homes(task.task_id) for task in tasks] == [[] for _ in tasks]


def test_a_task_that_may_have_arrived_is_not_created_here(both: Both) -> None:
    task = new()
    with both.away(LOST, done=True), pytest.raises(Unavailable, match="in time"):
        both.store.create(task)
    with both.away(), pytest.raises(Unavailable, match="an earlier request for the same task may") as caught:
        both.store.create(task)
    assert not isinstance(caught.value, NotDelivered), "the caller would take it for certain that nothing was done"
    assert both.store.create(task)[0].task_id == task.task_id
    assert both.homes(task.task_id) == ["shared"]


def test_a_full_queue_is_no_unknown_outcome(both: Both) -> None:
    task = new()
    with both.away(QueueFull("full")), pytest.raises(QueueFull):
        both.store.create(task)
    with both.away():
        both.store.create(task)
    assert both.homes(task.task_id) == ["local"]


def test_a_repeat_goes_to_where_the_task_was_created(both: Both) -> None:
    task = new()
    with both.away():
        first, _ = both.store.create(task)
    assert both.store.create(task) == (first, False)
    assert both.homes(task.task_id) == ["local"]


def test_a_repeat_goes_nowhere_else_if_creating_here_failed(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    task = new()

    def full(*_: Any) -> Any:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(both.local, "create_many", full)
    with both.away(), pytest.raises(Unavailable, match="disk"):
        both.store.create(task)
    with pytest.raises(Unavailable, match="disk"):
        both.store.create(task)
    assert both.homes(task.task_id) == []


@given(
    faults=st.lists(st.sampled_from(["ok", "away", "lost request", "lost reply"]), min_size=1, max_size=6),
    key=st.sampled_from([None, "key"]),
)
def test_whatever_happens_a_task_has_one_home(faults: list[str], key: str | None) -> None:
    both = Both(MemoryStore(), Clock())
    task = new(idempotency_key=key)
    answered = False
    for fault in faults:
        both.shared.error = {"ok": None, "away": AWAY}.get(fault, LOST)
        both.shared.done = fault == "lost reply"
        try:
            both.store.create(task)
            answered = True
        except NotDelivered:
            assert both.homes(task.task_id) == []
        except Unavailable:
            pass  # nobody can tell
    homes = both.homes(task.task_id)
    assert len(homes) == 1 if answered else homes in ([], ["shared"])


# -- one task ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [True, False])
def test_a_local_task_lives_on_whether_the_shared_store_is_away_or_back(both: Both, away: bool) -> None:
    task_id = both.create_locally(variables='"' + "x" * 100_000 + '"').task_id
    both.shared.error = AWAY if away else None
    store = both.store
    record = StepRecord("load", "0001/load", StepStatus.COMPLETED, "call", id="load")
    claim = store.claim(task_id, "A", "host:1")
    assert claim is not None
    store.commit(task_id, "A", Commit([record]))
    assert store.renew({task_id: "A"})[task_id].held
    store.back_off(task_id, "A", NOTHING, 5, None)
    both.clock.time += 5
    assert ids(store.wake()) == [task_id]
    store.claim(task_id, "B", "host:1")
    store.release(task_id, "B", NOTHING)
    store.claim(task_id, "C", "host:1")
    assert store.finish(task_id, "C", NOTHING, Status.FAILED, None, None).dead
    assert not store.discard(task_id).dead
    assert store.retry(task_id, iter(["load"]), 2).attempt == 3
    assert store.cancel(task_id).status is Status.CANCELLED
    assert store.get(task_id).status is Status.CANCELLED
    assert [step.path for step in store.steps(task_id).items] == ["load"]
    assert store.events(task_id)
    assert len(store.value(task_id, "variables")) == 100_002
    assert store.definition("hash-1") == "steps: []"
    assert both.homes(task_id) == ["local"]


def test_local_tasks_are_found_after_a_restart(both: Both) -> None:
    task_id, other = both.create_locally().task_id, both.create_shared().task_id
    assert [both.started().is_local(one) for one in (task_id, other)] == [True, False]
    assert both.started().get(task_id).task_id == task_id
    assert both.started().claim(task_id, "A", "host:1") is not None
    assert both.started().renew({task_id: "A"})[task_id].held
    with both.away():
        assert both.started().cancel(task_id, force=True).cancel_requested
        with pytest.raises(NotDelivered):
            both.started().get(other)


def test_homes_that_were_forgotten_are_found_again(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "REMEMBERED", 2)
    tasks = [both.create_locally().task_id for _ in range(5)] + [both.create_shared().task_id for _ in range(5)]
    assert [both.fallback.is_local(task_id) for task_id in tasks] == [True] * 5 + [False] * 5
    assert ids(map(both.store.get, tasks)) == tasks


def test_a_task_that_nobody_knows(both: Both) -> None:
    with pytest.raises(NotFound):
        both.store.get("unheard-of")
    with pytest.raises(NotFound):
        both.store.definition("unheard-of")
    assert both.store.claim("unheard-of", "A", "host:1") is None
    with both.away(), pytest.raises(NotDelivered):
        both.store.get("unheard-of")
    with both.away(), pytest.raises(NotDelivered):
        both.store.definition("unheard-of")


def test_a_known_task_costs_the_other_store_nothing(both: Both) -> None:
    task_id = both.create_locally().task_id
    both.shared.calls.clear()
    both.store.get(task_id)
    assert both.shared.calls == []


def test_errors_of_a_task_are_those_of_its_home(both: Both) -> None:
    task_id = both.create_locally().task_id
    with pytest.raises(Conflict):
        both.store.retry(task_id, [], 1)
    with pytest.raises(NotFound):
        both.store.value(task_id, "outputs")


# -- looking after tasks -------------------------------------------------------------------------------------------


def test_both_stores_are_looked_after(both: Both) -> None:
    local, shared = both.create_locally(), both.create_shared()
    assert ids(both.store.queued(0)) == [local.task_id, shared.task_id]
    running(both, local)
    running(both, shared)
    assert all(lease.held for lease in both.store.renew({local.task_id: "A", shared.task_id: "A"}).values())
    both.clock.time += LEASE - 1
    both.store.reap()
    both.clock.time += 2
    assert ids(both.store.reap()) == [local.task_id, shared.task_id]
    running(both, local, "B")
    running(both, shared, "B")
    assert ids(both.store.lose("host:1", crashed=False)) == [local.task_id, shared.task_id]


def test_the_next_to_wake_is_that_of_either_store(both: Both) -> None:
    assert both.store.due_in() is None
    late = both.create_shared(delay=20)
    assert both.store.due_in() == 20
    soon = both.create_locally(delay=5)
    assert both.store.due_in() == 5
    both.clock.time += 20
    assert ids(both.store.wake()) == [soon.task_id, late.task_id]


def test_this_host_is_looked_after_while_the_shared_store_is_away(both: Both) -> None:
    local, delayed = both.create_locally(), both.create_locally(delay=5)
    with both.away():
        assert both.store.due_in() == 5
        assert ids(both.store.queued(0)) == [local.task_id]
        running(both, local)
        both.clock.time += LEASE + 1
        assert ids(both.store.reap()) == [local.task_id]
        assert ids(both.store.wake()) == [delayed.task_id]
        assert both.store.reap() == both.store.wake() == both.store.lose("host:2") == []


def test_leases_of_this_host_are_renewed_although_the_others_are_not(both: Both) -> None:
    local, shared = running(both, both.create_locally()), running(both, both.create_shared())
    both.clock.time += LEASE - 1
    with both.away(), pytest.raises(NotDelivered):
        both.store.renew({shared: "A", local: "A"})
    both.store.reap()
    both.clock.time += LEASE / 2
    assert ids(both.store.reap()) == [shared]


def test_after_an_outage_longer_than_a_lease_the_shared_tasks_are_given_grace(both: Both) -> None:
    task_id = running(both, both.create_shared())
    both.store.reap()
    with both.away():
        both.clock.time += LEASE + 1
        both.store.reap()
    assert both.store.reap() == [], "nobody could renew its lease"
    both.clock.time += LEASE - 1
    both.store.reap()
    both.clock.time += 2
    assert ids(both.store.reap()) == [task_id]


def test_an_outage_is_logged_once(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with both.away():
            both.store.reap()
            both.store.wake()
        both.store.wake()
    assert [record.message for record in caplog.records] == [
        f"new tasks are kept on this host, and only those of this host are looked after: {AWAY}"
    ] * 2


# -- all tasks -----------------------------------------------------------------------------------------------------


def pages(store: TaskStore, limit: int, only: TaskFilter | None = None) -> list[str]:
    """The ids of all pages."""
    found, cursor = [], None
    while True:
        page = store.list(only or TaskFilter(), limit, cursor)
        assert len(page.items) <= limit
        found += ids(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("shortest", [1, 1000])
def test_a_list_pages_through_both_newest_first(both: Both, limit: int, shortest: int) -> None:
    chance = random.Random(7)
    made = []
    for number in range(30):
        make = both.create_locally if chance.random() < 0.4 else both.create_shared
        made.append(make(workflow_id=f"w{number % 2}").task_id)
    list_ = both.inner.list

    def short(only: TaskFilter, limit: int, cursor: str | None) -> Any:
        return list_(only, min(limit, shortest), cursor)  # a store may answer less than a full page, and a cursor

    both.inner.list = short  # type: ignore[method-assign, assignment]
    assert pages(both.store, limit) == made[::-1]
    assert pages(both.store, limit, TaskFilter(workflow_id="w1")) == made[::-2]


def test_nothing_incomplete_is_shown_as_complete(both: Both) -> None:
    both.create_locally()
    store = both.store
    for ask in (lambda: store.list(TaskFilter()), store.counts, store.ages, store.pace, store.paused, store.audit):
        with both.away(), pytest.raises(NotDelivered):
            ask()


def test_numbers_are_those_of_both(both: Both) -> None:
    both.create_locally()
    both.clock.time += 60
    both.create_shared()
    both.create_shared(queue="other")
    ended = running(both, both.create_locally())
    both.store.finish(ended, "A", NOTHING, Status.COMPLETED, None, None)
    both.clock.time += 60
    counts = both.store.counts()
    assert (counts["line"]["queued"], counts["line"]["completed_total"], counts["other"]["queued"]) == (2, 1, 1)
    assert both.store.ages() == {"line": 120.0, "other": 60.0}
    assert both.store.pace()["line"]["completed"] == 1


def test_a_file_is_unused_only_if_neither_store_needs_it(both: Both) -> None:
    both.create_locally(files=("b" * 64,))
    both.create_shared(files=("c" * 64,))
    named = ["a" * 64, "b" * 64, "c" * 64]
    assert both.store.unused(named) == ["a" * 64]
    assert both.store.unused(["b" * 64]) == []
    with both.away(), pytest.raises(NotDelivered):
        both.store.unused(named)


def test_both_are_purged_and_needed_files_are_not_named(both: Both) -> None:
    kept = "c" * 64
    old = [both.create_locally(files=("a" * 64, kept)), both.create_shared(files=("b" * 64,))]
    both.create_shared(files=(kept,))
    for task in old:
        both.store.finish(running(both, task), "A", NOTHING, Status.COMPLETED, None, None)
    both.clock.time += 10
    purged = both.store.purge(5)
    assert (purged.tasks, list(purged.files)) == (2, ["a" * 64, "b" * 64])
    assert both.store.purge(5).tasks == 0


@pytest.mark.parametrize("limit", [1, 1000])
def test_this_host_is_purged_while_the_shared_store_is_away(both: Both, limit: int) -> None:
    task = both.create_locally(files=("a" * 64,))
    both.store.finish(running(both, task), "A", NOTHING, Status.COMPLETED, None, None)
    both.clock.time += 10
    with both.away():
        purged = both.store.purge(5, limit)
        assert (purged.tasks, list(purged.files)) == (1, []), "the shared store may need the files"


def test_a_purge_removes_no_more_than_it_may(both: Both) -> None:
    for make in (both.create_locally, both.create_shared) * 2:
        both.store.finish(running(both, make()), "A", NOTHING, Status.COMPLETED, None, None)
    both.clock.time += 10
    assert [both.store.purge(5, 3).tasks for _ in range(3)] == [3, 1, 0]


def test_pauses_audit_and_quotas_are_the_shared_stores(both: Both) -> None:
    both.store.pause("line")
    assert both.store.paused() == both.inner.paused() == {"line"}
    both.store.resume("line")
    assert both.inner.paused() == set()
    both.store.note(AuditEntry("ann", "admin", "task.cancel", "t1", 200))
    assert [entry.actor for entry in both.inner.audit().items] == ["ann"] == [e.actor for e in both.store.audit().items]
    assert both.store.spend("ann", 1, 1, 60.0) == 0
    assert both.inner.spend("ann", 1, 1, 60.0) > 0


def test_it_answers_as_long_as_this_host_does(both: Both) -> None:
    with both.away():
        both.store.ping()
        assert both.store.now() == both.clock.time
    assert both.store.now() == both.clock.time


# -- with a real Redis ---------------------------------------------------------------------------------------------


def test_a_redis_that_goes_and_comes_back(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "redis", appendfsync="always") as server,
        closing(RedisClient(server.url, fail_fast=True)) as client,
        closing(SqlStore(f"sqlite:///{tmp_path}/stepwell.db")) as local,
    ):
        store = FallbackStore(RedisStore(client), local)
        before = store.create(new())[0]
        server.kill()
        during = store.create(new())[0]
        with pytest.raises(NotDelivered, match="idempotency key"):
            store.create(new(idempotency_key="k"))
        with pytest.raises(NotDelivered):
            store.get(before.task_id)
        assert store.claim(during.task_id, "A", "host:1") is not None
        server.start()
        eventually(lambda: client.state().answers)
        after = store.create(new(idempotency_key="k"))[0]
        made = [before.task_id, during.task_id, after.task_id]
        assert [store.is_local(task_id) for task_id in made] == [False, True, False]
        assert pages(store, 1) == pages(store, 2) == made[::-1]
        assert store.finish(during.task_id, "A", NOTHING, Status.COMPLETED, None, None).ended


def test_a_reply_that_redis_could_not_send(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "redis") as server,
        ChaosProxy(tmp_path / "proxy", server.port) as proxy,
        closing(RedisClient(proxy.url, fail_fast=True, patience=0.3)) as client,
        closing(SqlStore(f"sqlite:///{tmp_path}/stepwell.db")) as local,
    ):
        store = FallbackStore(RedisStore(client), local)
        store.create(new())
        task = new()
        proxy.set(drop_reply_after=0)
        with pytest.raises(Unavailable, match="did not answer in time"):
            store.create(task)
        server.kill()
        with pytest.raises(Unavailable, match="an earlier request for the same task"):
            store.create(task)
        assert local.list(TaskFilter()).items == []
