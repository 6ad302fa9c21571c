"""Waiting, children and events while the shared store is away: what is of this host goes on, events wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.two_stores import AWAY, LEASE, NOTHING, Both, Clock, ids, new, running

from stepwell.errors import NotDelivered, NotFound
from stepwell.ports import Commit, Revision, Suspension, TaskFilter
from stepwell.stores.fallback.homes import LOOK
from stepwell.stores.sql import SqlStore
from stepwell.task import Crew, NewMail, NewTask, Status, StepRecord, StepStatus

MAIL = NewMail("approve", "1", once=True)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    clock = Clock()
    local = SqlStore(f"sqlite:///{tmp_path}/stepwell.db", clock=clock, lease_seconds=LEASE)
    yield Both(local, clock)
    local.close()


def child(parent: str) -> NewTask:
    return new(ancestors=(parent,), place="each", index=0)


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize("is_local", [True, False])
def test_a_task_waits_where_it_lives(both: Both, is_local: bool, away: bool) -> None:
    task = both.create_locally() if is_local else both.create_shared()
    task_id, store = task.task_id, both.store
    running(both, task)
    if away:
        both.shared.error = AWAY
    if away and not is_local:
        with pytest.raises(NotDelivered):
            store.send(task_id, MAIL)
        return
    record = StepRecord("approve", "1", StepStatus.WAITING, "wait", wait={"kind": "approval"})
    assert store.suspend(task_id, "A", Commit([record]), Suspension()).status is Status.WAITING
    assert store.step(task_id, "approve") == record
    assert store.send(task_id, MAIL)[1]
    assert not store.send(task_id, MAIL)[1]
    assert [mail.id for mail in store.mailbox(task_id)] == [1]
    assert store.get(task_id).status is Status.QUEUED


@pytest.mark.parametrize("is_local", [True, False])
def test_children_live_where_their_parent_does(both: Both, is_local: bool) -> None:
    parent = both.create_locally() if is_local else both.create_shared()
    running(both, parent)
    one, store = child(parent.task_id), both.store
    rung: list[str] = []
    store.rings_with(lambda task: rung.append(task.task_id))
    assert store.spawn(parent.task_id, "A", "each", Crew(1, 1, 0, 1), [one]).active == 1
    assert rung == [one.task_id]
    assert both.started().is_local(one.task_id) == is_local
    assert ids(store.list(TaskFilter(parent=parent.task_id)).items) == [one.task_id]
    assert ids(store.list(TaskFilter()).items) == [parent.task_id]
    running(both, store.get(one.task_id), "B")
    assert ids(store.cancel_children(parent.task_id)) == [one.task_id]
    store.finish(one.task_id, "B", NOTHING, Status.CANCELLED, None, None)
    assert store.crew(parent.task_id, "each").over


def test_children_of_this_host_are_found_while_the_shared_store_is_away(both: Both) -> None:
    parent = both.create_locally()
    running(both, parent)
    one = child(parent.task_id)
    with both.away():
        store = both.started()
        store.spawn(parent.task_id, "A", "each", Crew(1, 1, 0, 1), [one])
        assert ids(both.started().list(TaskFilter(parent=parent.task_id)).items) == [one.task_id]
        assert both.started().claim(one.task_id, "B", "host:1") is not None
        with pytest.raises(NotDelivered):
            store.list(TaskFilter(parent="unheard-of"))


def test_a_list_of_children_tells_nothing_of_where_their_parent_lives(both: Both) -> None:
    assert both.store.list(TaskFilter(parent="unheard-of")).items == []
    with pytest.raises(NotFound):
        both.store.crew("unheard-of", "each")


def test_events_are_the_shared_stores(both: Both) -> None:
    store = both.store
    publication, is_new = store.publish("paid", "1", ["paid"], "k", "ann")
    assert is_new
    assert list(both.inner.published("paid").items) == [publication] == list(store.published("paid").items)
    assert both.local.published("paid").items == []
    assert list(store.undelivered("waits", "a")) == [publication]
    store.delivered("waits", publication, 2)
    assert store.publications()["paid"] == {"published": 1, "received": 2, "listening": 0}
    with both.away():
        for call in (
            lambda: store.publish("paid", "1", ["paid"]),
            lambda: store.published("paid"),
            lambda: store.undelivered("waits", "a"),
            lambda: store.delivered("waits", publication),
            lambda: store.rouse(publication),
            store.publications,
        ):
            with pytest.raises(NotDelivered):
                call()


def test_who_listens_in_the_shared_store_is_roused(both: Both) -> None:
    task = both.create_shared()
    running(both, task)
    read = {"paid": both.store.published("paid").position}
    both.store.suspend(task.task_id, "A", NOTHING, Suspension(topics=["paid"], positions=read))
    publication, _ = both.store.publish("paid", "1", ["paid"])
    assert ids(both.store.rouse(publication)) == [task.task_id]


@pytest.mark.parametrize(("due", "looks_in"), [(None, LOOK), (1000.0, LOOK), (1.0, 1.0)])
def test_who_listens_on_this_host_looks_by_himself(both: Both, due: float | None, looks_in: float) -> None:
    task = both.create_locally()
    running(both, task)
    when = None if due is None else both.clock.time + due
    suspension = Suspension(due=when, topics=["paid"], positions={"paid": "1700000000000-0"})
    assert both.store.suspend(task.task_id, "A", NOTHING, suspension).status is Status.WAITING
    publication, _ = both.store.publish("paid", "1", ["paid"])
    assert both.store.rouse(publication) == []
    assert both.store.due_in() == looks_in
    both.clock.time += looks_in
    assert ids(both.store.wake()) == [task.task_id]


def test_a_retry_brings_its_revision_home(both: Both) -> None:
    task = both.create_locally()
    both.store.finish(running(both, task), "A", NOTHING, Status.FAILED, None, None)
    assert both.store.retry(task.task_id, [], 1, Revision(variables='{"b":2}')).variables == '{"b":2}'
