"""What a store keeps besides tasks: paused queues, accounts, and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.contract.building import NOTHING, all_pages, at_once, kinds, new, running

from stepwell.errors import InvalidInput
from stepwell.ports import TaskStore
from stepwell.task import AuditEntry, Status

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestPause:
    def test_no_task_of_a_paused_queue_is_claimed_until_it_goes_on(self, store: TaskStore) -> None:
        store.create(new("t1"))
        store.create(new("t2", queue="other"))
        store.pause("line")
        assert store.paused() == {"line"}
        assert store.claim("t1", "A", "w") is None
        assert store.claim("t2", "A", "w") is not None
        store.resume("line")
        assert store.paused() == set()
        assert store.claim("t1", "A", "w") is not None

    def test_tasks_of_a_paused_queue_wait_and_can_be_created_and_cancelled(
        self, store: TaskStore, clock: Clock
    ) -> None:
        store.pause("line")
        store.create(new("t1"))
        store.create(new("t2", delay=5))
        clock.advance(5)
        assert [task.task_id for task in store.wake()] == ["t2"]
        assert store.cancel("t1").status is Status.CANCELLED
        assert [task.task_id for task in store.queued(0)] == ["t2"]
        assert kinds(store, "t2") == ["task.created", "task.queued"]

    def test_what_runs_goes_on(self, store: TaskStore) -> None:
        claim = running(store)
        store.pause("line")
        assert store.claim("t1", "A", "host:1") == claim
        assert store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None).status is Status.COMPLETED

    def test_again_changes_nothing(self, store: TaskStore) -> None:
        store.pause("line")
        store.pause("line")
        store.pause("other")
        assert store.paused() == {"line", "other"}
        store.resume("line")
        store.resume("line")
        store.resume("nothing")
        assert store.paused() == {"other"}

    def test_a_pause_outlives_the_store(self, make_store: Callable[..., TaskStore], clock: Clock) -> None:
        first, second = make_store(clock), make_store(clock)
        if type(first).__name__ == "MemoryStore":
            pytest.skip("each store in memory is one of its own")
        first.pause("line")
        assert second.paused() == {"line"}


class TestSpend:
    def test_up_to_the_limit_it_is_counted(self, store: TaskStore) -> None:
        assert [store.spend("ann", 1, 3, 60) for _ in range(3)] == [0, 0, 0]
        assert store.spend("ann", 1, 3, 60) > 0
        assert store.spend("bob", 3, 3, 60) == 0

    def test_too_much_answers_the_seconds_until_the_period_ends(self, store: TaskStore, clock: Clock) -> None:
        clock.advance(60 - clock() % 60 + 15)
        assert store.spend("ann", 1, 1, 60) == 0
        assert store.spend("ann", 1, 1, 60) == 45
        clock.advance(44)
        assert store.spend("ann", 1, 1, 60) == 1
        clock.advance(1)
        assert store.spend("ann", 1, 1, 60) == 0
        assert store.spend("ann", 1, 1, 60) == 60

    def test_all_or_nothing(self, store: TaskStore) -> None:
        assert store.spend("ann", 7, 10, 60) == 0
        assert store.spend("ann", 4, 10, 60) > 0
        assert store.spend("ann", 3, 10, 60) == 0
        assert store.spend("new", 11, 10, 60) > 0
        assert store.spend("new", 10, 10, 60) == 0
        assert store.spend("ann", 1, 20, 60) == 0  # the limit is that of the call

    def test_each_length_of_a_period_counts_alone(self, store: TaskStore) -> None:
        assert store.spend("ann", 1, 1, 60) == 0
        assert store.spend("ann", 1, 1, 86_400) == 0
        assert store.spend("ann", 1, 1, 60) > 0
        assert store.spend("ann", 1, 1, 86_400) > 0

    def test_sweeping_forgets_nothing_that_counts(self, store: TaskStore, clock: Clock) -> None:
        clock.advance(60 - clock() % 60)
        assert store.spend("ann", 1, 1, 60) == 0
        clock.advance(30)
        store.reap()
        assert store.spend("ann", 1, 1, 60) == 30
        clock.advance(30)
        store.reap()
        assert store.spend("ann", 1, 1, 60) == 0

    def test_of_many_at_once_no_more_than_the_limit_get_through(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        answers = at_once([partial(store.spend, "ann", 1, 7, 1e9)] * 20)
        assert answers.count(0.0) == 7


class TestAudit:
    ENTRY = AuditEntry("ann", "operator", "task.cancel", "t1", 202, {"force": True})

    def test_an_entry_comes_back_with_the_time_of_the_store(self, store: TaskStore, clock: Clock) -> None:
        clock.advance(1.5)
        store.note(self.ENTRY)
        assert store.audit().items == [
            AuditEntry("ann", "operator", "task.cancel", "t1", 202, {"force": True}, clock())
        ]

    def test_entries_are_newest_first_in_pages(self, store: TaskStore) -> None:
        assert store.audit().items == []
        for number in range(5):
            store.note(AuditEntry("ann", "admin", "task.retry", f"t{number}", 202))
        pages = all_pages(lambda cursor: store.audit(limit=2, cursor=cursor))
        assert [[entry.target for entry in page] for page in pages] == [["t4", "t3"], ["t2", "t1"], ["t0"]]
        assert store.audit(limit=5).next_cursor is None

    def test_a_page_goes_on_where_the_one_before_ended(self, store: TaskStore) -> None:
        for number in range(3):
            store.note(AuditEntry("ann", "admin", "task.retry", f"t{number}", 202))
        first = store.audit(limit=1)
        store.note(self.ENTRY)
        assert [entry.target for entry in store.audit(limit=5, cursor=first.next_cursor).items] == ["t1", "t0"]

    def test_any_text_can_be_noted(self, store: TaskStore) -> None:
        store.note(AuditEntry("ann", "admin", "task.cancel", "a\0b\ud800\U0001f600", 404, {"é": None}))
        [entry] = store.audit().items
        assert (entry.target, entry.detail) == ("a\0b\ud800\U0001f600", {"é": None})

    @pytest.mark.parametrize("cursor", ["", "x", "AAAA", "WyJ4Il0=", "WyItMSJd", "WyIxIiwiMiJd"])
    def test_a_malformed_cursor_is_refused(self, store: TaskStore, cursor: str) -> None:
        store.note(self.ENTRY)
        with pytest.raises(InvalidInput, match="cursor"):
            store.audit(cursor=cursor)
