"""For which tasks a store rings: for those that it queues without answering them to anybody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from tests.contract.building import ERROR, NOTHING, child, crew_of, finish, running

from stepwell.errors import Unavailable
from stepwell.ports import Suspension, TaskStore
from stepwell.stores.redis import RedisStore
from stepwell.task import NewMail, Status, Task

if TYPE_CHECKING:
    from tests.contract.conftest import Clock

FOREVER = Suspension()


@pytest.fixture
def rung(store: TaskStore) -> list[str]:
    """The ids of the tasks that the store has rung for; it may be asked again within."""
    if isinstance(store, RedisStore):
        pytest.skip("its scripts ring by themselves")
    found: list[str] = []

    def ring(task: Task) -> None:
        assert store.get(task.task_id).status is Status.QUEUED
        found.append(task.task_id)

    store.rings_with(ring)
    return found


def family(store: TaskStore, total: int, at_once: int, undo: bool = False) -> list[str]:
    """A `t1` that waits for its children."""
    running(store)
    children = [child(index, undo=undo) for index in range(total)]
    store.spawn("t1", "A", "each", crew_of(total, at_once=at_once, allowed=total), children)
    store.suspend("t1", "A", NOTHING, FOREVER)
    return [one.task_id for one in children]


def test_what_is_answered_is_not_rung_for(store: TaskStore, clock: Clock, rung: list[str]) -> None:
    running(store)
    store.release("t1", "A", NOTHING)
    store.claim("t1", "B", "host:1")
    store.suspend("t1", "B", NOTHING, Suspension(due=clock() + 5))
    clock.advance(5)
    store.wake()
    store.claim("t1", "C", "host:1")
    store.lose("host:1")
    assert rung == []


def test_what_suspends_in_vain(store: TaskStore, clock: Clock, rung: list[str]) -> None:
    running(store)
    for _ in range(2):
        store.suspend("t1", "A", NOTHING, Suspension(due=clock()))
        assert rung == ["t1"]


def test_what_gets_mail_once(store: TaskStore, rung: list[str]) -> None:
    running(store)
    store.send("t1", NewMail("order", "1"))
    assert rung == []
    store.suspend("t1", "A", NOTHING, Suspension(mail=1))
    for _ in range(3):
        store.send("t1", NewMail("order", "2", key="k"))
        assert rung == ["t1"]


def test_children_that_have_a_place(store: TaskStore, rung: list[str]) -> None:
    ids = family(store, 4, at_once=2)
    assert rung == ids[:2]
    finish(store, ids[1])
    assert rung == ids[:3]
    for id_ in (ids[0], ids[2], ids[3]):
        finish(store, id_)
    assert rung == [*ids, "t1"]


def test_children_of_a_new_round(store: TaskStore, rung: list[str]) -> None:
    ids = family(store, 4, at_once=2)
    finish(store, ids[0], Status.FAILED)
    store.cancel_children("t1")
    assert rung == [*ids[:3], "t1"]
    rung.clear()
    store.claim("t1", "B", "host:1")
    children = [child(index, attempt=2) for index in range(4)]
    store.spawn("t1", "B", "each", crew_of(4, at_once=3, round=2), children)
    assert rung == ids[:3]


@pytest.mark.parametrize("way", ["cancel", "lose", "reap"])
def test_what_follows_when_a_child_ends_in_another_way(
    store: TaskStore, clock: Clock, rung: list[str], way: str
) -> None:
    ids = family(store, 2, at_once=1)
    if way == "cancel":
        store.cancel(ids[0])
    for number in range(3 if way != "cancel" else 0):
        clock.advance(100)
        store.wake()
        store.claim(ids[0], f"B{number}", "host:2")
        clock.advance(100)
        _ = store.lose("host:2") if way == "lose" else store.reap()
    assert store.get(ids[0]).ended
    assert rung == ids
    store.cancel_children("t1")
    assert rung == [*ids, "t1"]


def test_cancelled_children_that_wait_are_rung_for_to_undo(store: TaskStore, rung: list[str]) -> None:
    ids = family(store, 3, at_once=3, undo=True)
    for id_ in ids[:2]:
        store.claim(id_, "B", "host:2")
    store.suspend(ids[0], "B", NOTHING, FOREVER)
    store.release(ids[1], "B", NOTHING)
    rung.clear()
    tasks = store.cancel_children("t1")
    assert [task.status for task in tasks] == [Status.QUEUED, Status.QUEUED, Status.CANCELLED]
    assert rung == ids[:1]
    assert store.cancel_children("t1") == []
    assert rung == ids[:1]


def test_a_bell_that_is_lost_is_logged(store: TaskStore, rung: list[str], caplog: pytest.LogCaptureFixture) -> None:
    def broken(task: Task) -> None:
        raise Unavailable(f"no bell for {task.task_id}")

    store.rings_with(broken)
    with caplog.at_level(logging.WARNING):
        ids = family(store, 2, at_once=2)
        for id_ in ids:
            store.claim(id_, "A", "host:1")
            store.finish(id_, "A", NOTHING, Status.FAILED, None, ERROR)
    assert store.get("t1").status is Status.QUEUED
    found = [record.getMessage() for record in caplog.records if "no bell for" in record.getMessage()]
    assert len(found) == 3
