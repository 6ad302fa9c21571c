"""Claims: to take one, to lose it, to end it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.contract.building import ERROR, LEASE, NOTHING, at_once, bring, end, ended, kinds, new, running, step

from stepwell.errors import ClaimLost, Conflict
from stepwell.lifecycle import CRASH_DELAY
from stepwell.ports import Claim, Commit, Lease, TaskStore
from stepwell.task import NewEvent, Status, StepStatus

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestClaim:
    def test_a_claim_makes_it_running(self, store: TaskStore, clock: Clock) -> None:
        store.create(new())
        clock.advance(3)
        claim = store.claim("t1", "A", "host:1")
        assert claim is not None
        assert (claim.token, claim.definition_text, claim.now) == ("A", "steps: []", clock())
        assert list(claim.steps) == []
        assert claim.task == store.get("t1")
        assert (claim.task.status, claim.task.started_at, claim.task.worker) == (Status.RUNNING, clock(), "host:1")
        assert kinds(store)[-1] == "task.started"

    def test_the_same_claim_again_is_the_same(self, store: TaskStore, clock: Clock) -> None:
        claim = running(store)
        clock.advance(1)
        assert store.claim("t1", "A", "host:1") == claim
        assert kinds(store).count("task.started") == 1

    def test_nobody_else_gets_it(self, store: TaskStore) -> None:
        running(store)
        assert store.claim("t1", "B", "host:2") is None

    @pytest.mark.parametrize("status", [status for status in Status if status not in {Status.QUEUED, Status.RUNNING}])
    def test_what_is_not_queued_cannot_be_claimed(self, store: TaskStore, status: Status) -> None:
        bring(store, status)
        assert store.claim("t1", "B", "host:2") is None
        assert store.get("t1").status is status

    def test_what_is_gone_cannot_be_claimed(self, store: TaskStore) -> None:
        assert store.claim("nothing", "A", "host:1") is None

    def test_a_token_serves_once(self, store: TaskStore) -> None:
        running(store)
        store.release("t1", "A", NOTHING)
        assert store.claim("t1", "A", "host:1") is None
        assert store.claim("t1", "B", "host:1") is not None

    def test_the_first_start_is_kept(self, store: TaskStore, clock: Clock) -> None:
        first = running(store).task.started_at
        store.release("t1", "A", NOTHING)
        clock.advance(9)
        again = store.claim("t1", "B", "host:2")
        assert again is not None
        assert (again.task.started_at, again.now) == (first, clock())

    def test_of_many_threads_one_gets_it(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        store.create(new())
        claims = at_once(partial(store.claim, "t1", token, token) for token in "ABCDEFGH")
        won = [claim for claim in claims if isinstance(claim, Claim)]
        assert len(won) == 1
        assert store.get("t1").worker == won[0].token


class TestEndOfAClaim:
    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_finish_ends_it(self, store: TaskStore, clock: Clock, status: Status) -> None:
        running(store)
        clock.advance(2.5)
        error = ERROR if status is Status.FAILED else None
        task = store.finish("t1", "A", Commit(steps=[step()], events=[NewEvent("log")]), status, '{"x":1}', error)
        assert task == store.get("t1")
        assert (task.status, task.outputs, task.error, task.worker) == (status, '{"x":1}', error, None)
        assert (task.completed_at, task.ran_for) == (clock(), 2.5)
        assert kinds(store)[3:] == ["step.completed", "log", f"task.{status}"]
        assert list(store.steps("t1").items) == [step()]

    def test_suspend_makes_it_wait_for_its_retry(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        task = store.back_off("t1", "A", NOTHING, 30, ERROR)
        assert task == store.get("t1")
        assert (task.status, task.wake_at, task.attempt, task.retry_count) == (Status.WAITING, clock() + 30, 2, 1)
        assert (task.error, task.worker, task.ran_for) == (ERROR, None, 2)
        assert store.events("t1")[-1].data == {"attempt": 2, "code": "step_failed", "message": "no disk"}

    def test_release_hands_it_back_and_counts_nothing(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        task = store.release("t1", "A", NOTHING)
        assert task == store.get("t1")
        assert (task.status, task.attempt, task.retry_count, task.crashes) == (Status.QUEUED, 1, 0, 0)
        assert (task.worker, task.ran_for) == (None, 2)

    def test_release_with_a_pause_makes_it_wait(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        task = store.release("t1", "A", NOTHING, pause=30)
        assert task == store.get("t1")
        assert (task.status, task.wake_at) == (Status.WAITING, clock() + 30)
        assert (task.attempt, task.retry_count, task.crashes, task.worker, task.ran_for) == (1, 0, 0, None, 2)
        assert store.claim("t1", "B", "w") is None
        clock.advance(30)
        assert [task.task_id for task in store.wake()] == ["t1"]

    def test_a_cancel_ends_the_pause_of_a_release(self, store: TaskStore) -> None:
        running(store)
        store.cancel("t1", force=True)
        assert store.release("t1", "A", NOTHING, pause=30).status is Status.QUEUED

    def test_running_time_adds_up_over_claims(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        store.release("t1", "A", NOTHING)
        clock.advance(100)
        store.claim("t1", "B", "w")
        clock.advance(3)
        assert store.finish("t1", "B", NOTHING, Status.COMPLETED, None, None).ran_for == 5

    def test_a_clock_that_jumps_back_takes_no_running_time_away(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(-3600)
        assert store.release("t1", "A", NOTHING).ran_for == 0

    @pytest.mark.parametrize("call", ["finish", "back_off", "release"])
    def test_a_repeat_does_nothing_and_answers_again(self, store: TaskStore, clock: Clock, call: str) -> None:
        running(store)
        clock.advance(1)
        first = end(store, call, "A")
        told = kinds(store)
        clock.advance(1)
        assert end(store, call, "A") == first == store.get("t1")
        assert kinds(store) == told

    @pytest.mark.parametrize("call", ["finish", "back_off", "release"])
    def test_another_call_with_the_old_token_is_refused(self, store: TaskStore, call: str) -> None:
        running(store)
        end(store, call, "A")
        for other in {"finish", "back_off", "release"} - {call}:
            with pytest.raises(ClaimLost):
                end(store, other, "A")
        with pytest.raises(ClaimLost):
            store.commit("t1", "A", NOTHING)

    @pytest.mark.parametrize("call", ["finish", "back_off", "release"])
    def test_a_worker_that_lost_its_claim_is_refused(self, store: TaskStore, clock: Clock, call: str) -> None:
        running(store)
        clock.advance(LEASE)
        assert [task.task_id for task in store.reap()] == ["t1"]
        with pytest.raises(ClaimLost):
            end(store, call, "A")
        assert store.claim("t1", "B", "w") is not None
        with pytest.raises(ClaimLost):
            end(store, call, "A")
        assert store.get("t1").status is Status.RUNNING

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.WAITING, Status.PENDING, Status.RUNNING])
    def test_finish_only_takes_ends(self, store: TaskStore, status: Status) -> None:
        running(store)
        with pytest.raises(Conflict):
            store.finish("t1", "A", Commit(steps=[step()]), status, None, None)
        assert list(store.steps("t1").items) == []
        assert store.get("t1").status is Status.RUNNING

    def test_a_cancel_ends_the_pause_before_a_retry(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        store.cancel("t1", force=True)
        assert store.back_off("t1", "A", NOTHING, 1000, ERROR).wake_at == clock()
        assert [task.status for task in store.wake()] == [Status.QUEUED]


class TestLeases:
    def test_renew_extends_it(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(LEASE - 1)
        assert store.renew({"t1": "A"}) == {"t1": Lease(held=True)}
        clock.advance(LEASE - 1)
        assert store.reap() == []

    def test_renew_extends_an_expired_one_that_nobody_took(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(5 * LEASE)
        assert store.renew({"t1": "A"}) == {"t1": Lease(held=True)}
        assert store.reap() == []

    def test_renew_tells_what_is_lost_and_what_is_cancelled(self, store: TaskStore) -> None:
        for task_id in ("t1", "t2", "t3"):
            running(store, task_id)
        store.cancel("t2", force=True)
        store.finish("t3", "A", NOTHING, Status.COMPLETED, None, None)
        claims = {"t1": "B", "t2": "A", "t3": "A", "t4": "A"}
        assert store.renew(claims) == {
            "t1": Lease(held=False),
            "t2": Lease(held=True, cancelled=True),
            "t3": Lease(held=False),
            "t4": Lease(held=False),
        }
        assert store.renew({}) == {}

    def test_a_lost_worker_gives_its_task_back(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(LEASE - 0.5)
        assert store.reap() == []
        clock.advance(5)
        [task] = store.reap()
        assert task == store.get("t1")
        assert (task.status, task.crashes, task.worker, task.ran_for) == (Status.QUEUED, 1, None, LEASE)
        assert store.reap() == []
        assert kinds(store)[-1] == "task.queued"

    def test_three_crashes_without_a_committed_step_end_it(self, store: TaskStore, clock: Clock) -> None:
        store.create(new())
        for number, status in enumerate([Status.QUEUED, Status.WAITING, Status.FAILED]):
            assert store.claim("t1", f"token-{number}", "host:7") is not None
            store.commit("t1", f"token-{number}", Commit(steps=[step(status=StepStatus.RUNNING)]))
            clock.advance(LEASE)
            [task] = store.reap()
            assert (task.status, task.crashes) == (status, number + 1)
            if status is Status.WAITING:
                assert task.wake_at == clock() + CRASH_DELAY
                clock.advance(CRASH_DELAY)
                assert [woken.status for woken in store.wake()] == [Status.QUEUED]
        assert task == store.get("t1")
        assert (task.status, task.crashes, task.completed_at) == (Status.FAILED, 3, clock())
        assert task.error is not None
        assert (task.error.code, "host:7" in task.error.message) == ("worker_lost", True)
        assert store.counts()["line"]["failed_total"] == 1

    def test_a_committed_step_makes_crashes_count_afresh(self, store: TaskStore, clock: Clock) -> None:
        store.create(new())
        for number in range(5):
            assert store.claim("t1", f"token-{number}", "w") is not None
            store.commit("t1", f"token-{number}", Commit(steps=[step(f"s{number}")]))
            clock.advance(LEASE)
            [task] = store.reap()
            assert (task.status, task.crashes) == (Status.QUEUED, 1)

    def test_grace_gives_every_dead_looking_task_one_lease(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(100)
        assert store.reap(grace=True) == []
        assert store.reap() == []
        clock.advance(LEASE - 0.5)
        assert store.reap() == []
        clock.advance(0.5)
        assert [task.status for task in store.reap()] == [Status.QUEUED]

    def test_a_lease_that_lies_too_far_away_is_cut(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(-3600)
        assert store.reap() == []
        clock.advance(LEASE)
        assert [task.task_id for task in store.reap()] == ["t1"]


class TestLose:
    """A worker that is known to be dead."""

    def test_its_tasks_are_taken_at_once_as_crashed(self, store: TaskStore, clock: Clock) -> None:
        for task_id in ("t2", "t1"):
            running(store, task_id)
        store.create(new("t3"))
        assert store.claim("t3", "A", "host:2")
        clock.advance(3)
        taken = store.lose("host:1")
        assert taken == [store.get("t1"), store.get("t2")]
        assert [(task.status, task.crashes, task.worker, task.ran_for) for task in taken] == [
            (Status.QUEUED, 1, None, 3)
        ] * 2
        assert store.get("t3").status is Status.RUNNING
        assert kinds(store)[-1] == "task.queued"
        assert store.lose("host:1") == []
        with pytest.raises(ClaimLost):
            store.commit("t1", "A", NOTHING)

    def test_or_handed_back_without_a_crash_counted(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(3)
        [task] = store.lose("host:1", crashed=False)
        assert task == store.get("t1")
        assert (task.status, task.crashes, task.attempt, task.retry_count) == (Status.QUEUED, 0, 1, 0)
        assert (task.worker, task.ran_for) == (None, 3)
        with pytest.raises(ClaimLost):
            store.commit("t1", "A", NOTHING)
        assert store.claim("t1", "B", "host:2") is not None

    def test_from_the_second_crash_on_it_waits_longer_and_after_the_third_it_is_dead(
        self, store: TaskStore, clock: Clock
    ) -> None:
        store.create(new())
        store.claim("t1", "A", "w")
        assert store.lose("w")[0].status is Status.QUEUED
        store.claim("t1", "B", "w")
        [task] = store.lose("w")
        assert (task.status, task.wake_at) == (Status.WAITING, clock() + CRASH_DELAY)
        assert store.due_in() == CRASH_DELAY
        clock.advance(CRASH_DELAY)
        assert [task.task_id for task in store.wake()] == ["t1"]
        store.claim("t1", "C", "w")
        [task] = store.lose("w")
        assert (task.status, task.dead, task.error and task.error.code) == (Status.FAILED, True, "worker_lost")
        assert store.counts()["line"]["dead"] == 1

    def test_of_a_worker_that_has_none_there_is_nothing_to_take(self, store: TaskStore) -> None:
        ended(store, "t1")
        assert store.lose("host:1") == []
        assert store.lose("nobody", crashed=False) == []
