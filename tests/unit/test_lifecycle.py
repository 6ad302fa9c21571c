"""The state machine: every pair of states, what a retry resets, what is told and counted, and pauses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stepwell import lifecycle
from stepwell.errors import Conflict
from stepwell.task import Error, NewTask, Status, StepRecord, StepStatus, Task

PENDING, QUEUED, RUNNING, WAITING = Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED

TASK_MOVES = {
    (PENDING, QUEUED), (QUEUED, RUNNING), (RUNNING, QUEUED), (RUNNING, WAITING), (WAITING, QUEUED),
    (RUNNING, COMPLETED), (RUNNING, FAILED), (RUNNING, CANCELLED),
    (PENDING, CANCELLED), (QUEUED, CANCELLED), (WAITING, CANCELLED),
    (COMPLETED, QUEUED), (FAILED, QUEUED), (CANCELLED, QUEUED), (FAILED, PENDING), (CANCELLED, PENDING),
}  # fmt: skip

STEP_MOVES = {
    "pending": {"running", "waiting", "skipped", "cancelled"},
    "running": {"pending", "waiting", "completed", "failed", "skipped", "cancelled"},
    "waiting": {"running", "pending", "completed", "failed", "cancelled"},
    "completed": {"pending"},
    "failed": {"pending"},
    "skipped": {"pending"},
    "cancelled": {"pending"},
}


def task(status: Status = QUEUED, **changes: Any) -> Task:
    new = NewTask("t1", "w", "h", "text", "line", 1, "{}", timeout=60, max_retries=3)
    return replace(lifecycle.created(new, 100.0), status=status, **changes)


def step(path: str, status: str = "completed", **changes: Any) -> StepRecord:
    return StepRecord(path, path, StepStatus(status), "call", attempts=1, tries=1, **changes)


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("after", list(Status))
def test_every_pair_of_task_states(before: Status, after: Status) -> None:
    if (before, after) in TASK_MOVES:
        lifecycle.move(before, after)
        return
    with pytest.raises(Conflict, match=f"{before} task cannot become {after}") as caught:
        lifecycle.move(before, after)
    assert caught.value.status == before


@pytest.mark.parametrize("before", list(StepStatus))
@pytest.mark.parametrize("after", list(StepStatus))
def test_every_pair_of_step_states(before: StepStatus, after: StepStatus) -> None:
    if after in STEP_MOVES[before]:
        lifecycle.move_step(before, after)
        return
    with pytest.raises(Conflict, match=f"{before} step cannot become {after}"):
        lifecycle.move_step(before, after)


TRANSITIONS: dict[str, tuple[Callable[[Task], Task], dict[Status, Status]]] = {
    "started": (lambda before: lifecycle.started(before, 110, "host:1"), {QUEUED: RUNNING}),
    "completed": (lambda before: lifecycle.finished(before, 110, 5, COMPLETED, "1", None), {RUNNING: COMPLETED}),
    "suspended": (lambda before: lifecycle.suspended(before, 110, 5, None, False), {RUNNING: WAITING}),
    "suspended in vain": (lambda before: lifecycle.suspended(before, 110, 5, 200, True), {RUNNING: QUEUED}),
    "backed off": (lambda before: lifecycle.backed_off(before, 110, 5, 30, None), {RUNNING: WAITING}),
    "handed back": (lambda before: lifecycle.handed_back(before, 110, 5), {RUNNING: QUEUED}),
    "lost": (lambda before: lifecycle.lost(before, 110, 5), {RUNNING: QUEUED}),
    "discarded": (lambda before: replace(lifecycle.discarded(before, 110), updated_at=110), {FAILED: FAILED}),
    "woken": (lambda before: lifecycle.woken(before, 110), {PENDING: QUEUED, WAITING: QUEUED}),
    "retried": (lambda before: lifecycle.retried(before, 110), {COMPLETED: QUEUED, FAILED: QUEUED, CANCELLED: QUEUED}),
    "retried, but held": (
        lambda before: lifecycle.retried(before, 110, attempt=2, held=True),
        {COMPLETED: PENDING, FAILED: PENDING, CANCELLED: PENDING},
    ),
}


@pytest.mark.parametrize("name", TRANSITIONS)
@pytest.mark.parametrize("status", list(Status))
def test_each_transition_from_each_state(name: str, status: Status) -> None:
    become, allowed = TRANSITIONS[name]
    if status not in allowed:
        with pytest.raises(Conflict):
            become(task(status))
        return
    after = become(task(status))
    assert (after.status, after.updated_at) == (allowed[status], 110)


def test_from_the_second_crash_in_a_row_on_it_waits_and_the_third_fails_it() -> None:
    lost = lifecycle.lost(task(RUNNING, worker="host:1"), 110, 5)
    assert (lost.status, lost.crashes, lost.worker, lost.ran_for, lost.wake_at) == (QUEUED, 1, None, 5, None)
    lost = lifecycle.lost(task(RUNNING, crashes=1, worker="host:1"), 110, 5)
    assert (lost.status, lost.crashes, lost.worker) == (WAITING, 2, None)
    assert lost.wake_at == 110 + lifecycle.CRASH_DELAY
    lost = lifecycle.lost(replace(lost, status=RUNNING, worker="host:2"), 120, 1)
    assert (lost.status, lost.completed_at, lost.dead) == (FAILED, 120, True)
    assert lost.error is not None
    assert (lost.error.code, lost.error.retryable) == ("worker_lost", False)
    assert "host:2" in lost.error.message


def test_a_cancel_that_was_requested_waits_for_no_pause() -> None:
    before = task(RUNNING, crashes=1, cancel_requested=True)
    assert lifecycle.lost(before, 110, 5).status is QUEUED
    assert lifecycle.handed_back(before, 110, 5, pause=30).status is QUEUED


@pytest.mark.parametrize(
    ("due", "changes", "status", "wake_at"),
    [
        (None, {}, WAITING, None),
        (110.5, {}, WAITING, 110.5),
        (110.0, {}, QUEUED, None),
        (500.0, {"cancel_requested": True}, QUEUED, None),
    ],
)
def test_a_task_is_suspended_until_it_is_due(
    due: float | None, changes: dict[str, Any], status: Status, wake_at: float | None
) -> None:
    before = task(RUNNING, worker="host:1", crashes=1, attempt=2, retry_count=1, **changes)
    after = lifecycle.suspended(before, 110, 5, due, has_come=False)
    assert (after.status, after.wake_at, after.worker, after.ran_for) == (status, wake_at, None, 5)
    assert (after.crashes, after.attempt, after.retry_count) == (1, 2, 1)


def test_what_undoes_waits_in_spite_of_a_cancel() -> None:
    before = task(RUNNING, cancel_requested=True)
    assert lifecycle.suspended(before, 110, 5, None, has_come=False, undoing=True).status is WAITING
    assert lifecycle.suspended(before, 110, 5, None, has_come=True, undoing=True).status is QUEUED


def test_a_task_that_backs_off_counts_it() -> None:
    error = Error("x", "y")
    after = lifecycle.backed_off(task(RUNNING, worker="host:1"), 110, 5, 30, error)
    assert (after.wake_at, after.worker, after.attempt, after.retry_count, after.error) == (140, None, 2, 1, error)
    after = lifecycle.backed_off(task(RUNNING, cancel_requested=True), 110, 5, 30, None)
    assert (after.status, after.wake_at) == (WAITING, 110)


def test_a_task_listens_while_it_is_suspended_but_not_while_it_backs_off() -> None:
    error = Error("timeout", "late")
    running = task(RUNNING, error=error)
    assert lifecycle.listens(lifecycle.suspended(running, 110, 5, 200, False))
    assert not lifecycle.listens(lifecycle.backed_off(running, 110, 5, 30, error))
    assert not lifecycle.listens(lifecycle.suspended(running, 110, 5, None, has_come=True))


@pytest.mark.parametrize(("pause", "status", "wake_at"), [(0, QUEUED, None), (-1, QUEUED, None), (30, WAITING, 140)])
def test_a_task_is_handed_back_with_or_without_a_pause(pause: float, status: Status, wake_at: float | None) -> None:
    after = lifecycle.handed_back(task(RUNNING, worker="host:1"), 110, 5, pause)
    assert (after.status, after.wake_at, after.worker) == (status, wake_at, None)
    assert (after.crashes, after.attempt, after.retry_count, after.ran_for) == (0, 1, 0, 5)


def test_only_what_failed_for_good_is_a_dead_letter() -> None:
    for status in (COMPLETED, FAILED, CANCELLED):
        assert lifecycle.finished(task(RUNNING), 110, 5, status, None, None).dead == (status is FAILED)
    dead = task(FAILED, dead=True)
    assert not lifecycle.retried(dead, 110).dead
    discarded = lifecycle.discarded(dead, 110)
    assert (discarded.status, discarded.dead, discarded.updated_at) == (FAILED, False, 110)
    assert lifecycle.discarded(discarded, 120) is discarded


def test_a_key_belongs_to_one_fingerprint() -> None:
    asked = NewTask("t2", "w", "h", "text", "line", 1, "{}", timeout=60, max_retries=3, idempotency_key="k")
    lifecycle.same_request(task(fingerprint="f"), replace(asked, fingerprint="f"))
    with pytest.raises(Conflict, match="'k' belongs to task t1"):
        lifecycle.same_request(task(fingerprint="f"), replace(asked, fingerprint="g"))


@pytest.mark.parametrize(
    ("status", "crashes"),
    [("completed", 0), ("failed", 0), ("skipped", 0), ("cancelled", 0), ("running", 2), ("pending", 2), ("waiting", 2)],
)
def test_only_an_ended_step_is_headway(status: str, crashes: int) -> None:
    after = lifecycle.committed(task(RUNNING, crashes=2), 110, [step("a", status)], None)
    assert (after.crashes, after.updated_at) == (crashes, 110)


class TestReset:
    """`to_reset` and `reset`."""

    def test_what_failed_was_cancelled_or_left_running(self) -> None:
        statuses = ["completed", "failed", "cancelled", "running", "waiting", "skipped", "pending"]
        records = [step(status, status) for status in statuses]
        assert lifecycle.to_reset(records) == ["failed", "cancelled", "running", "waiting"]

    def test_of_items_that_failed_together_all_that_failed_are_begun_afresh(self) -> None:
        items = [
            step("e[0]", "completed"),
            step("e[1]", "failed", tolerated=True),
            step("e[1]/a", "failed"),
            step("e[1]/b", "completed"),
            step("e[2]", "failed"),
        ]
        assert lifecycle.to_reset([step("e", "failed"), *items]) == ["e", "e[1]", "e[1]/a", "e[2]"]
        for whole in (step("e", "completed"), step("e", "failed", tolerated=True)):
            assert lifecycle.to_reset([whole, *items]) == []

    def test_what_was_tolerated_stays_with_all_inside(self) -> None:
        inside = [step("g/a", "failed"), step("g/a/on_failure/b"), step("g/on_failure/c")]
        assert lifecycle.to_reset([step("g", "failed", tolerated=True), *inside]) == []

    @pytest.mark.parametrize("status", ["completed", "skipped"])
    def test_nothing_inside_what_is_done(self, status: str) -> None:
        records = [step("race", status), step("race/loser", "cancelled"), step("race/loser/inner", "failed")]
        assert lifecycle.to_reset(records) == []

    def test_of_a_failed_group_only_what_failed_and_failure_blocks(self) -> None:
        records = [
            step("g", "failed"),
            step("g/a"),
            step("g/b", "failed"),
            step("g/b/on_failure/x"),
            step("g/b/on_failure/y"),
            step("g/b/on_failure/y/z"),
            step("g/c", "pending"),
            step("g/on_failure/x", "skipped"),
        ]
        assert lifecycle.to_reset(records) == [
            "g", "g/b", "g/b/on_failure/x", "g/b/on_failure/y", "g/b/on_failure/y/z", "g/on_failure/x",
        ]  # fmt: skip

    def test_of_a_failed_foreach_only_the_failed_items(self) -> None:
        records = [
            step("each", "failed"),
            step("each[0]"),
            step("each[1]", "failed"),
            step("each[1]/a"),
            step("each[1]/b", "failed"),
            step("each[2]", "cancelled"),
            step("each[10]"),
        ]
        assert lifecycle.to_reset(records) == ["each", "each[1]", "each[1]/b", "each[2]"]

    def test_the_final_blocks_of_the_task(self) -> None:
        records = [step("a"), step("on_failure/x"), step("on_cancel/y"), step("finally/z"), step("finally/z/in")]
        assert lifecycle.to_reset(records) == ["on_failure/x", "on_cancel/y", "finally/z", "finally/z/in"]
        assert lifecycle.to_reset([step("on_failure_too"), step("a/finally")]) == []

    def test_chosen_steps_with_all_inside_and_around(self) -> None:
        records = [step("a"), step("g"), step("g/b"), step("g/b/in"), step("g/bc"), step("g[1]"), step("h", "failed")]
        assert lifecycle.to_reset(records, ["g/b"]) == ["g", "g/b", "g/b/in", "h"]
        assert lifecycle.to_reset(records, ["g"]) == ["g", "g/b", "g/b/in", "g/bc", "g[1]", "h"]

    def test_reset_keeps_what_happened(self) -> None:
        before = replace(
            step("a", "failed"), output="1", error=Error("x", "y"), completed_at=3.0, started_at=1.0, inputs="2",
            tolerated=True, failures=({"index": 1},), files={"f": {"size": 1}},
        )  # fmt: skip
        after = lifecycle.reset(before)
        assert after == replace(step("a", "pending"), tries=0)


@pytest.mark.parametrize(
    ("path", "around"),
    [("a", []), ("a/b[3]/c", ["a", "a/b", "a/b[3]"]), ("a[1][2]", ["a", "a[1]"]), ("on_failure/x", ["on_failure"])],
)
def test_ancestors(path: str, around: list[str]) -> None:
    assert list(lifecycle.ancestors(path)) == around


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("running", "step.started"), ("completed", "step.completed"), ("failed", "step.failed"),
        ("skipped", "step.skipped"), ("cancelled", "step.cancelled"), ("pending", "step.retrying"),
        ("waiting", "step.waiting"),
    ],
)  # fmt: skip
def test_what_a_record_tells(status: str, kind: str) -> None:
    event = lifecycle.step_event(step("a", status, output="secret", error=Error("x", "y" * 5000)))
    assert event is not None
    assert (event.kind, event.path) == (kind, "a")
    assert event.data == {"attempt": 1, "code": "x", "message": "y" * 1000}


def test_a_step_that_has_not_begun_tells_nothing() -> None:
    assert lifecycle.step_event(replace(step("a", "pending"), attempts=0)) is None


def test_what_moves_of_a_task_tell() -> None:
    def told(before: Task | None, after: Task) -> list[str]:
        return [event.kind for event in lifecycle.task_events(before, after)]

    assert told(None, task(QUEUED)) == ["task.created", "task.queued"]
    assert told(None, task(PENDING)) == ["task.created"]
    assert told(task(QUEUED), task(RUNNING)) == ["task.started"]
    assert told(task(RUNNING), task(WAITING)) == ["task.waiting"]
    assert told(task(FAILED), task(QUEUED)) == ["task.retried", "task.queued"]
    assert told(task(FAILED), task(PENDING)) == ["task.retried"]
    assert told(task(WAITING), task(QUEUED, cancel_requested=True)) == ["task.cancel_requested", "task.queued"]
    assert told(task(RUNNING), task(RUNNING, cancel_requested=True)) == ["task.cancel_requested"]
    assert told(task(RUNNING), task(RUNNING)) == []
    for status in (COMPLETED, FAILED, CANCELLED):
        assert told(task(RUNNING), task(status)) == [f"task.{status}"]


def test_what_moves_count() -> None:
    late = Error("timeout", "too slow")
    assert lifecycle.count_changes(None, task(QUEUED)) == {"queued": 1, "queued:1": 1, "created_total": 1}
    assert lifecycle.count_changes(None, task(PENDING)) == {"pending": 1, "created_total": 1}
    assert lifecycle.count_changes(task(QUEUED, priority=3), task(RUNNING, priority=3)) == {
        "queued": -1, "queued:3": -1, "running": 1,
    }  # fmt: skip
    assert lifecycle.count_changes(task(QUEUED), task(QUEUED)) == {}
    assert lifecycle.count_changes(task(RUNNING), task(COMPLETED)) == {
        "running": -1, "completed": 1, "completed_total": 1,
    }  # fmt: skip
    assert lifecycle.count_changes(task(RUNNING), task(FAILED, error=late, dead=True)) == {
        "running": -1, "failed": 1, "dead": 1, "failed_total": 1, "timeout_total": 1,
    }  # fmt: skip
    assert lifecycle.count_changes(task(FAILED, dead=True), task(FAILED)) == {"dead": -1}
    assert lifecycle.count_changes(task(RUNNING), task(WAITING, attempt=2)) == {
        "running": -1, "waiting": 1, "retried_total": 1,
    }  # fmt: skip
    assert lifecycle.count_changes(task(FAILED, error=late, dead=True), None) == {"failed": -1, "dead": -1}


@pytest.mark.parametrize(
    ("retry_number", "pause"), [(1, 2.0), (2, 6.0), (3, 18.0), (4, 30.0), (100, 30.0), (10_000, 30.0)]
)
def test_pauses_grow_up_to_their_bound(retry_number: int, pause: float) -> None:
    assert lifecycle.pause_before(retry_number, delay=2, backoff=3, max_delay=30, jitter_random=None) == pause
    assert lifecycle.pause_before(retry_number, delay=2, backoff=3, max_delay=30, jitter_random=0.0) == pause / 2
    assert lifecycle.pause_before(retry_number, delay=2, backoff=3, max_delay=30, jitter_random=0.5) == pause * 0.75


def test_without_a_delay_there_is_no_pause() -> None:
    assert lifecycle.pause_before(5, delay=0, backoff=2, max_delay=60, jitter_random=0.5) == 0
