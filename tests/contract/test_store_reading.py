"""Reading: lists, pages, counters, ages and pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import pytest
from tests.contract.building import NOTHING, all_pages, ended, kinds, new, running, step

from stepwell.errors import InvalidInput, NotFound
from stepwell.lifecycle import COUNTERS, QUEUED_BY_PRIORITY
from stepwell.ports import Commit, TaskFilter, TaskStore
from stepwell.task import Error, NewEvent, Status

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestReading:
    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.get("no"),
            lambda store: store.steps("no"),
            lambda store: store.events("no"),
            lambda store: store.value("no", "variables"),
            lambda store: store.cancel("no"),
            lambda store: store.retry("no", [], 1),
            lambda store: store.discard("no"),
            lambda store: store.commit("no", "A", NOTHING),
            lambda store: store.finish("no", "A", NOTHING, Status.COMPLETED, None, None),
            lambda store: store.back_off("no", "A", NOTHING, 1, None),
            lambda store: store.release("no", "A", NOTHING),
            lambda store: store.definition("no"),
        ],
    )
    def test_what_is_not_there_is_not_found(self, store: TaskStore, call: Callable[[TaskStore], object]) -> None:
        with pytest.raises(NotFound, match="'no'"):
            call(store)

    def test_a_list_is_newest_first_in_pages(self, store: TaskStore) -> None:
        for number in (3, 1, 5, 2, 4):
            store.create(new(f"t{number}"))
        pages = all_pages(lambda cursor: store.list(TaskFilter(), limit=2, cursor=cursor))
        assert [[task.task_id for task in page] for page in pages] == [["t5", "t4"], ["t3", "t2"], ["t1"]]
        assert store.list(TaskFilter(), limit=5).next_cursor is None

    def test_a_list_shows_what_is_asked_for(self, store: TaskStore) -> None:
        store.create(new("t1", workflow_id="other", labels={"team": "red", "n": "1"}))
        store.create(new("t2", queue="fast", labels={"team": "red", "n": "2"}))
        store.create(new("t3", external_id="x", delay=5, labels={"team": "blue"}))
        for only, wanted in [
            (TaskFilter(workflow_id="other"), ["t1"]),
            (TaskFilter(queue="fast"), ["t2"]),
            (TaskFilter(external_id="x"), ["t3"]),
            (TaskFilter(status=Status.QUEUED), ["t2", "t1"]),
            (TaskFilter(labels={"team": "red"}), ["t2", "t1"]),
            (TaskFilter(labels={"team": "red", "n": "2"}), ["t2"]),
            (TaskFilter(labels={"team": "2"}), []),
            (TaskFilter(status=Status.PENDING, queue="fast"), []),
        ]:
            page = store.list(only)
            assert [task.task_id for task in page.items] == wanted, only
            assert all(task == store.get(task.task_id) for task in page.items)

    def test_steps_come_in_order_in_pages(self, store: TaskStore) -> None:
        running(store)
        steps = [step(f"s{number}", position=f"000{number // 2}") for number in range(5)]
        store.commit("t1", "A", Commit(steps=steps[::-1]))
        pages = all_pages(lambda cursor: store.steps("t1", limit=2, cursor=cursor))
        assert [record for page in pages for record in page] == steps
        assert [len(page) for page in pages] == [2, 2, 1]

    @pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "W10=", "WzFd", "eyJhIjoxfQ==", "\0", "WyJhXHUwMDAwIl0="])
    def test_a_malformed_cursor_is_refused(self, store: TaskStore, cursor: str) -> None:
        running(store)
        with pytest.raises(InvalidInput, match="cursor"):
            store.list(TaskFilter(), cursor=cursor)
        with pytest.raises(InvalidInput, match="cursor"):
            store.steps("t1", cursor=cursor)

    def test_events_are_read_on_from_an_id(self, store: TaskStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(events=[NewEvent(f"e{number}") for number in range(5)]))
        first = store.events("t1", limit=4)
        rest = store.events("t1", after=first[-1].id)
        assert [event.kind for event in [*first, *rest]] == kinds(store)
        assert store.events("t1", after=rest[-1].id) == []
        assert {event.task_id for event in rest} == {"t1"}

    def test_a_store_that_answers_says_so(self, store: TaskStore) -> None:
        store.ping()


class TestCounts:
    def test_states_and_totals(self, store: TaskStore) -> None:
        assert store.counts() == {}
        ended(store, "t1")
        running(store, "t2")
        store.finish("t2", "A", NOTHING, Status.FAILED, None, Error("timeout", "too slow"))
        ended(store, "t3", Status.FAILED)
        store.retry("t3", [], 1)
        running(store, "t4")
        store.back_off("t4", "A", NOTHING, 1, None)
        store.create(new("t5", queue="other"))
        store.cancel("t5")
        zero = dict.fromkeys(COUNTERS, 0)
        line = {"queued": 1, "queued:1": 1, "waiting": 1, "completed": 1, "failed": 1, "dead": 1}
        totals = {
            "created_total": 4, "completed_total": 1, "failed_total": 2, "timeout_total": 1, "retried_total": 2,
        }  # fmt: skip
        assert store.counts() == {
            "line": {**zero, **line, **totals},
            "other": {**zero, "cancelled": 1, "created_total": 1, "cancelled_total": 1},
        }

    def test_queued_ones_by_priority(self, store: TaskStore, clock: Clock) -> None:
        for number, priority in enumerate([0, 1, 1, 2, 3, 3]):
            store.create(new(f"t{number}", priority=priority))
        store.create(new("t6", priority=2, delay=5))
        store.claim("t1", "A", "w")
        store.cancel("t5")
        by_priority = {name: store.counts()["line"][name] for name in QUEUED_BY_PRIORITY}
        assert by_priority == {"queued:0": 1, "queued:1": 1, "queued:2": 1, "queued:3": 1}
        clock.advance(5)
        store.wake()
        store.release("t1", "A", NOTHING)
        assert [store.counts()["line"][name] for name in QUEUED_BY_PRIORITY] == [1, 2, 2, 1]


class TestAges:
    def test_of_each_queue_its_oldest_queued_task_counts(self, store: TaskStore, clock: Clock) -> None:
        assert store.ages() == {}
        store.create(new("t1"))
        store.create(new("t2", queue="other", delay=50))
        clock.advance(3)
        store.create(new("t3"))
        store.create(new("t4", queue="fast"))
        clock.advance(2)
        assert store.ages() == {"line": 5, "fast": 2}
        store.claim("t1", "A", "w")
        assert store.ages() == {"line": 2, "fast": 2}
        store.cancel("t4")
        assert store.ages() == {"line": 2}

    def test_they_count_from_when_it_was_queued_last(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(8)
        store.release("t1", "A", NOTHING)
        clock.advance(1)
        assert store.ages() == {"line": 1}

    def test_a_clock_that_jumps_back_makes_nothing_younger_than_new(self, store: TaskStore, clock: Clock) -> None:
        store.create(new("t1"))
        clock.advance(-3600)
        assert store.ages() == {"line": 0}


class TestPace:
    NONE: ClassVar = {"completed": 0, "failed": 0, "cancelled": 0}

    def test_the_last_five_whole_minutes_count(self, store: TaskStore, clock: Clock) -> None:
        clock.advance(60 - clock() % 60)
        ended(store, "t1")
        clock.advance(59)
        ended(store, "t2", Status.FAILED)
        store.create(new("t3", queue="other"))
        store.cancel("t3")
        assert not any(sum(ended.values()) for ended in store.pace().values())
        clock.advance(1)
        ended(store, "t4")
        line = {**self.NONE, "completed": 1, "failed": 1}
        assert store.pace() == {"line": line, "other": {**self.NONE, "cancelled": 1}}
        clock.advance(60)
        assert store.pace()["line"] == {**line, "completed": 2}
        clock.advance(3 * 60 + 59)
        assert store.pace()["line"] == {**line, "completed": 2}
        clock.advance(1)
        assert store.pace()["line"] == {**self.NONE, "completed": 1}

    def test_an_end_counts_whatever_becomes_of_the_task(self, store: TaskStore, clock: Clock) -> None:
        ended(store, "t1", Status.FAILED)
        store.retry("t1", [], 1)
        ended(store, "t2", Status.FAILED)
        store.discard("t2")
        ended(store, "t3")
        clock.advance(60)
        assert store.purge(0).tasks == 2
        store.reap()
        assert store.pace() == {"line": {**self.NONE, "completed": 1, "failed": 2}}

    def test_lost_tasks_that_fail_count(self, store: TaskStore, clock: Clock) -> None:
        store.create(new("t1"))
        for number in range(3):
            store.claim("t1", f"token-{number}", "w")
            store.lose("w")
            clock.advance(10)
            store.wake()
        clock.advance(60)
        assert store.pace() == {"line": {**self.NONE, "failed": 1}}
