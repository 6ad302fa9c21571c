"""What time does: tasks that wake, and tasks that wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.contract.building import ERROR, NOTHING, kinds, new, running, step

from stepwell.ports import Commit, TaskStore
from stepwell.task import Status

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestTime:
    def test_wake_queues_what_is_due(self, store: TaskStore, clock: Clock) -> None:
        store.create(new("t1", delay=5))
        running(store, "t2")
        store.back_off("t2", "A", NOTHING, 3, ERROR)
        store.create(new("t3", delay=60))
        clock.advance(2.5)
        assert store.wake() == []
        clock.advance(2.5)
        woken = store.wake()
        assert [(task.task_id, task.status, task.wake_at) for task in woken] == [
            ("t2", Status.QUEUED, None),
            ("t1", Status.QUEUED, None),
        ]
        assert woken == [store.get("t2"), store.get("t1")]
        assert woken[0].error == ERROR
        assert store.wake() == []
        assert kinds(store)[-1] == "task.queued"

    def test_wake_answers_at_most_a_thousand(self, store: TaskStore, clock: Clock) -> None:
        store.create_many([new(f"t{number:04}", delay=1) for number in range(1001)])
        clock.advance(1)
        assert [len(store.wake()), len(store.wake()), len(store.wake())] == [1000, 1, 0]
        assert store.counts()["line"]["queued"] == 1001

    def test_due_in_is_the_next_time(self, store: TaskStore, clock: Clock) -> None:
        assert store.due_in() is None
        store.create(new("t1", delay=50))
        store.create(new("t2"))
        assert store.due_in() == 50
        running(store, "t3")
        store.back_off("t3", "A", NOTHING, 20, None)
        clock.advance(5)
        assert store.due_in() == 15
        clock.advance(50)
        assert store.due_in() == 0

    def test_queued_answers_the_oldest_first(self, store: TaskStore, clock: Clock) -> None:
        for task_id in ("t3", "t1"):
            store.create(new(task_id))
            clock.advance(10)
        store.create(new("t2"))
        running(store, "t4")
        assert [task.task_id for task in store.queued(5)] == ["t3", "t1"]
        assert [task.task_id for task in store.queued(15)] == ["t3"]
        assert [task.task_id for task in store.queued(0)] == ["t3", "t1", "t2"]

    def test_queued_of_one_line_leaves_all_others_out(self, store: TaskStore, clock: Clock) -> None:
        for id_, queue, priority in [("t1", "line", 1), ("t2", "line", 0), ("t3", "other", 1), ("t4", "line", 1)]:
            store.create(replace(new(id_), queue=queue, priority=priority))
            clock.advance(10)
        assert [task.task_id for task in store.queued(0, ("line", 1))] == ["t1", "t4"]
        assert [task.task_id for task in store.queued(15, ("line", 1))] == ["t1"]
        assert [task.task_id for task in store.queued(0, ("line", 0))] == ["t2"]
        assert store.queued(0, ("line", 3)) == store.queued(0, ("none", 1)) == []

    def test_queued_counts_from_when_it_was_queued_last(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(8)
        store.release("t1", "A", NOTHING)
        assert store.queued(5) == []

    def test_the_store_has_its_own_time(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        before = store.now()
        claim = running(store)
        now = store.commit("t1", "A", Commit(steps=[step()])).now
        task = store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        times = [before, task.created_at, claim.now, now, task.completed_at or 0.0, store.now()]
        assert times == sorted(times)
        assert store.now() - before < 60
