"""Old tasks and the files that they refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.contract.building import ERROR, NOTHING, bring, end, ended, keeping, new, running, step

from stepwell.errors import ClaimLost, InvalidInput, NotFound
from stepwell.ports import Commit, Purged, TaskFilter, TaskStore
from stepwell.task import ENDED, Status
from stepwell.values import APART_SIZE, encode

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestPurge:
    def test_old_ended_tasks_go_with_all_that_is_theirs(self, store: TaskStore, clock: Clock) -> None:
        large = encode("x" * APART_SIZE)
        running(store, "t1", variables=large, labels={"a": "1"}, idempotency_key="k")
        store.finish("t1", "A", Commit(steps=[step(output=large)]), Status.COMPLETED, large, None)
        clock.advance(60)
        ended(store, "t2", definition="hash-2")
        assert store.purge(60) == Purged(0, [])
        clock.advance(1)
        assert store.purge(60) == Purged(1, [])
        with pytest.raises(NotFound):
            store.get("t1")
        with pytest.raises(NotFound):
            store.definition("hash-1")
        assert store.definition("hash-2")
        assert store.list(TaskFilter(labels={"a": "1"})).items == []
        assert (store.counts()["line"]["completed"], store.counts()["line"]["completed_total"]) == (1, 2)
        store.create(new("t1", idempotency_key="k", labels={"a": "2"}))
        assert (list(store.steps("t1").items), len(store.events("t1"))) == ([], 2)
        assert store.list(TaskFilter(labels={"a": "1"})).items == []
        for key in ("variables", "outputs", "output:load"):
            with pytest.raises(NotFound):
                store.value("t1", key)

    def test_live_tasks_stay(self, store: TaskStore, clock: Clock) -> None:
        live = [status for status in Status if status not in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}]
        for status in live:
            bring(store, status, task_id=status)
        ended(store, "retried")
        store.retry("retried", [], 1)
        clock.advance(1_000_000)
        assert store.purge(0).tasks == 0
        assert len(store.list(TaskFilter()).items) == len(live) + 1

    def test_it_removes_no_more_than_asked_and_keeps_definitions_in_use(self, store: TaskStore, clock: Clock) -> None:
        for number in range(5):
            ended(store, f"t{number}")
        clock.advance(1)
        assert [store.purge(0, limit=2).tasks, store.purge(0, limit=2).tasks] == [2, 2]
        assert store.definition("hash-1")
        assert [store.purge(0, limit=2).tasks, store.purge(0, limit=2).tasks] == [1, 0]


class TestFiles:
    """Which files a task refers to: those in its variables, and all that its steps ever kept."""

    def test_files_that_only_purged_tasks_refer_to_are_named(self, store: TaskStore, clock: Clock) -> None:
        running(store, "t1", files=("upload", "shared-upload", "upload"))
        steps = [keeping("a", "kept", "shared"), keeping("b", "kept")]
        store.finish("t1", "A", Commit(steps=steps), Status.COMPLETED, None, None)
        clock.advance(1)
        running(store, "t2", files=("shared-upload",))
        store.commit("t2", "A", Commit(steps=[keeping("a", "shared")]))
        assert store.unused(["kept", "none", "upload"]) == ["none"]
        assert store.purge(0) == Purged(1, ["kept", "upload"])
        assert store.unused(["upload", "shared", "none", "kept", "shared-upload"]) == ["upload", "none", "kept"]

    def test_of_tasks_that_go_together_each_file_is_named_once(self, store: TaskStore, clock: Clock) -> None:
        ended(store, "t1", files=("b", "a"))
        ended(store, "t2", files=("b", "c"))
        clock.advance(1)
        assert store.purge(0) == Purged(2, ["a", "b", "c"])
        assert store.purge(0) == Purged(0, [])

    def test_a_file_that_a_later_purge_frees_is_named_then(self, store: TaskStore, clock: Clock) -> None:
        for task_id in ("t1", "t2"):
            ended(store, task_id, files=("shared",))
            clock.advance(1)
        assert [store.purge(0, limit=1), store.purge(0, limit=1)] == [Purged(1, []), Purged(1, ["shared"])]

    @pytest.mark.parametrize("status", Status)
    def test_a_task_of_any_age_refers_to_its_files(self, store: TaskStore, clock: Clock, status: Status) -> None:
        store.create(new("t1", files=("upload",), delay=5 if status is Status.PENDING else 0))
        bring(store, status)
        clock.advance(1_000_000)
        assert store.unused(["upload"]) == []
        assert store.purge(0).files == (["upload"] if status in ENDED else [])

    @pytest.mark.parametrize("call", ["commit", "finish", "back_off", "release"])
    def test_every_call_that_keeps_records_refers(self, store: TaskStore, call: str) -> None:
        running(store)
        commit = Commit(steps=[keeping("a", "kept")])
        if call == "commit":
            store.commit("t1", "A", commit)
        else:
            end(store, call, "A", commit)
        assert store.unused(["kept"]) == []

    def test_what_was_not_written_refers_to_nothing(self, store: TaskStore) -> None:
        running(store, files=("upload",))
        with pytest.raises(ClaimLost):
            store.commit("t1", "B", Commit(steps=[keeping("a", "kept")]))
        store.create(new("t1", files=("another",)))
        assert store.unused(["upload", "kept", "another"]) == ["kept", "another"]

    def test_a_retry_and_a_repeat_give_no_file_up(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        commit = Commit(steps=[keeping("a", "kept")])
        store.commit("t1", "A", commit)
        store.commit("t1", "A", commit)
        store.finish("t1", "A", NOTHING, Status.FAILED, None, ERROR)
        store.retry("t1", ["a"], 1)
        clock.advance(1_000_000)
        assert (store.purge(0), store.unused(["kept"])) == (Purged(0, []), [])

    def test_many_files(self, store: TaskStore, clock: Clock) -> None:
        names = [f"{number:05}" for number in range(3000)]
        running(store)
        store.finish("t1", "A", Commit(steps=[keeping("a", *names)]), Status.COMPLETED, None, None)
        assert store.unused(iter(names)) == []
        clock.advance(1)
        assert store.purge(0) == Purged(1, names)

    def test_files_that_are_no_text_are_refused(self, store: TaskStore) -> None:
        with pytest.raises(InvalidInput, match="files"):
            store.create(new(files=("a\0b",)))
