"""What people do to a task: cancel, retry, discard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.contract.building import ERROR, NOTHING, all_pages, bring, ended, kinds, running, step

from stepwell.errors import Conflict, NotFound
from stepwell.ports import Commit, Revision, TaskFilter, TaskStore
from stepwell.task import Attempt, Status, StepStatus
from stepwell.values import APART_SIZE, encode

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestCancel:
    @pytest.mark.parametrize("undo", [False, True])
    @pytest.mark.parametrize("force", [False, True])
    @pytest.mark.parametrize("status", list(Status))
    def test_in_each_state(self, store: TaskStore, clock: Clock, status: Status, undo: bool, force: bool) -> None:
        before = bring(store, status, undo=undo)
        clock.advance(1)
        if status in {Status.COMPLETED, Status.FAILED} or (status is Status.RUNNING and not force):
            with pytest.raises(Conflict) as caught:
                store.cancel("t1", force)
            assert caught.value.status == status
            assert store.get("t1") == before
            return
        task = store.cancel("t1", force)
        assert task == store.get("t1")
        assert (task.status, task.cancel_requested) == {
            Status.PENDING: (Status.CANCELLED, False),
            Status.QUEUED: (Status.CANCELLED, False),
            Status.WAITING: (Status.QUEUED, True) if undo else (Status.CANCELLED, False),
            Status.RUNNING: (Status.RUNNING, True),
            Status.CANCELLED: (Status.CANCELLED, False),
        }[status]
        assert task.wake_at is None
        assert (task.completed_at is not None) == (task.status is Status.CANCELLED)
        told = kinds(store)
        assert store.cancel("t1", force) == task
        assert kinds(store) == told

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_once_it_has_ended_a_repeat_answers_by_its_end(
        self, store: TaskStore, clock: Clock, status: Status
    ) -> None:
        running(store)
        store.cancel("t1", force=True)
        before = store.finish("t1", "A", NOTHING, status, None, None)
        clock.advance(1)
        if status is Status.CANCELLED:
            assert store.cancel("t1", force=True) == before
        else:
            with pytest.raises(Conflict, match=f"{status} already") as caught:
                store.cancel("t1", force=True)
            assert caught.value.status == status
        assert store.get("t1") == before

    def test_a_queued_one_that_has_begun_stays_queued_to_undo(self, store: TaskStore, clock: Clock) -> None:
        running(store, undo=True)
        store.release("t1", "A", NOTHING)
        clock.advance(3)
        task = store.cancel("t1")
        assert (task.status, task.cancel_requested) == (Status.QUEUED, True)
        assert kinds(store)[-1] == "task.cancel_requested"
        assert [task.task_id for task in store.queued(3)] == ["t1"]
        claim = store.claim("t1", "B", "w")
        assert claim is not None
        assert claim.task.cancel_requested
        task = store.finish("t1", "B", Commit(undoing=True), Status.CANCELLED, None, None)
        assert task.status is Status.CANCELLED


class TestRetry:
    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_an_ended_one_is_queued_again(self, store: TaskStore, clock: Clock, status: Status) -> None:
        running(store)
        store.back_off("t1", "A", NOTHING, 0, ERROR)
        store.wake()
        store.claim("t1", "B", "w")
        history = (Attempt(1, 1.0, "w", 2.0, ERROR),)
        failed = step("b", StepStatus.FAILED, error=ERROR, completed_at=2.0, tries=3, attempts=3, history=history)
        large = encode("x" * APART_SIZE)
        commit = Commit(steps=[step("a", output="1"), failed, step("c", output=large)], progress={"percent": 1})
        clock.advance(1)
        store.finish("t1", "B", commit, status, large, ERROR)
        task = store.retry("t1", ["b", "c", "nothing"], 2)
        assert task == store.get("t1")
        assert (task.status, task.attempt, task.retry_count, task.crashes) == (Status.QUEUED, 3, 0, 0)
        assert (task.error, task.outputs, task.completed_at, task.progress, task.ran_for) == (None, None, None, None, 0)
        a, b, c = store.steps("t1").items
        assert a == step("a", output="1")
        assert b == step("b", StepStatus.PENDING, attempts=3, tries=0, history=history)
        assert c.output is None
        for key in ("outputs", "output:c"):
            with pytest.raises(NotFound):
                store.value("t1", key)
        assert kinds(store)[-2:] == ["task.retried", "task.queued"]
        assert store.claim("t1", "C", "w") is not None

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING])
    def test_a_live_one_is_refused(self, store: TaskStore, status: Status) -> None:
        before = bring(store, status)
        with pytest.raises(Conflict) as caught:
            store.retry("t1", [], before.attempt)
        assert caught.value.status == status
        assert store.get("t1") == before

    def test_a_cancel_is_forgotten(self, store: TaskStore) -> None:
        running(store)
        store.cancel("t1", force=True)
        store.finish("t1", "A", NOTHING, Status.CANCELLED, None, None)
        assert not store.retry("t1", [], 1).cancel_requested

    def test_of_two_who_retry_the_same_attempt_the_first_does(self, store: TaskStore) -> None:
        ended(store, "t1", Status.FAILED)
        assert store.retry("t1", [], 1).attempt == 2
        with pytest.raises(Conflict, match="attempt"):
            store.retry("t1", [], 1)
        store.claim("t1", "B", "w")
        before = store.finish("t1", "B", NOTHING, Status.FAILED, None, ERROR)
        with pytest.raises(Conflict, match="attempt") as caught:
            store.retry("t1", [], 1)
        assert caught.value.status == Status.FAILED
        assert store.get("t1") == before
        assert store.retry("t1", [], 2).attempt == 3

    def test_variables_and_definition_may_change(self, store: TaskStore) -> None:
        ended(store, "t1", Status.FAILED, files=("old",))
        large = '"' + "x" * 100_000 + '"'
        task = store.retry("t1", [], 1, Revision(large, "hash-2", "steps: [2]", undo=True, files=("new",)))
        assert task == store.get("t1")
        assert (task.definition, task.undo) == ("hash-2", True)
        assert store.value("t1", "variables") == large
        assert store.definition("hash-2") == "steps: [2]"
        assert store.unused(["old", "new"]) == []
        claim = store.claim("t1", "B", "host:1")
        assert claim is not None
        assert claim.definition_text == "steps: [2]"
        store.finish("t1", "B", NOTHING, Status.FAILED, None, None)
        task = store.retry("t1", [], 2, Revision(variables='{"b":2}'))
        assert (task.variables, task.definition, task.undo) == ('{"b":2}', "hash-2", True)
        with pytest.raises(NotFound):
            store.value("t1", "variables")


class TestDeadLetters:
    def test_what_failed_is_dead_until_it_is_retried(self, store: TaskStore) -> None:
        assert ended(store, "t1", Status.FAILED).dead
        assert store.get("t1").dead
        assert not store.retry("t1", [], 1).dead
        assert store.list(TaskFilter(dead=True)).items == []

    @pytest.mark.parametrize("status", [status for status in Status if status is not Status.FAILED])
    def test_nothing_else_is(self, store: TaskStore, status: Status) -> None:
        before = bring(store, status)
        assert not before.dead
        with pytest.raises(Conflict) as caught:
            store.discard("t1")
        assert caught.value.status == status
        assert store.get("t1") == before

    def test_one_that_is_discarded_stays_failed(self, store: TaskStore, clock: Clock) -> None:
        ended(store, "t1", Status.FAILED)
        told = kinds(store)
        clock.advance(1)
        task = store.discard("t1")
        assert task == store.get("t1")
        assert (task.status, task.dead, task.updated_at) == (Status.FAILED, False, clock())
        clock.advance(1)
        assert store.discard("t1") == task
        assert kinds(store) == told
        assert store.list(TaskFilter(dead=True)).items == []
        assert store.retry("t1", [], 1).status is Status.QUEUED

    def test_they_are_listed_by_queue_in_pages(self, store: TaskStore) -> None:
        for number in range(5):
            ended(store, f"t{number}", Status.FAILED, queue="other" if number == 2 else "line")
        ended(store, "t5")
        store.discard("t3")
        pages = all_pages(lambda cursor: store.list(TaskFilter(dead=True, queue="line"), limit=2, cursor=cursor))
        assert [[task.task_id for task in page] for page in pages] == [["t4", "t1"], ["t0"]]
        assert [task.task_id for task in store.list(TaskFilter(dead=True)).items] == ["t4", "t2", "t1", "t0"]
        assert [task.task_id for task in store.list(TaskFilter(dead=False)).items] == ["t5", "t3"]
        failed = TaskFilter(dead=False, status=Status.FAILED)
        assert [task.task_id for task in store.list(failed).items] == ["t3"]

    def test_they_are_counted(self, store: TaskStore, clock: Clock) -> None:
        for number in range(4):
            ended(store, f"t{number}", Status.FAILED)
        store.retry("t0", [], 1)
        store.discard("t1")
        assert store.counts()["line"]["dead"] == 2
        clock.advance(1)
        assert store.purge(0).tasks == 3
        assert store.counts()["line"]["dead"] == 0
        assert store.list(TaskFilter(dead=True)).items == []
