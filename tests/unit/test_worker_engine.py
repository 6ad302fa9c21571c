"""What the engine does in a worker only: it leaves to others what it does not know, and tells what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from tests.unit.engine_harness import PATIENCE, Harness, use

from stepwell.engine.engine import Engine
from stepwell.engine.leases import Holder, Leases
from stepwell.engine.run import UNKNOWN_FOR, UNKNOWN_PAUSE
from stepwell.errors import ClaimLost, Fail
from stepwell.registry import Action
from stepwell.task import FORMAT, Status, StepStatus, Task


class Noted(Leases):
    """Leases that note what they are told, and may say that a claim is lost."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness.store, lease_seconds=3600)
        self.shown: list[str | None] = []
        self.confirmed = 0
        self.lost_from: int | None = None

    def hold(self, task_id: str, token: str, since: float, holder: Holder) -> None:
        self.since = since
        super().hold(task_id, token, since, holder)

    def confirm(self, task_id: str, token: str) -> None:
        self.confirmed += 1
        if self.lost_from is not None and self.confirmed >= self.lost_from:
            raise ClaimLost("another has it")
        super().confirm(task_id, token)

    def doing(self, task_id: str, token: str, path: str | None, until: float) -> None:
        self.shown.append(path)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def as_worker(harness: Harness, on_abandoned: Callable[[], None] = lambda: None) -> Noted:
    """Have the harness's engine be that of a work-horse."""
    noted = Noted(harness)
    means = replace(harness.engine._means, claims=noted, hands_back=True, on_abandoned=on_abandoned)
    harness.engine = Engine(means)
    return noted


def once(harness: Harness, task: Task) -> Task:
    ended = harness.once(task.task_id)
    assert ended is not None
    return ended


def test_a_step_whose_action_only_others_know_is_left_to_them(harness: Harness) -> None:
    as_worker(harness)
    task = harness.create("steps: [{id: a, output: 1}, {id: b, uses: shop.charge}]")
    handed_back = once(harness, task)
    assert (handed_back.status, handed_back.retry_count, handed_back.crashes) == (Status.WAITING, 0, 0)
    assert handed_back.wake_at is not None
    assert harness.store.now() <= handed_back.wake_at <= harness.store.now() + UNKNOWN_PAUSE
    record = harness.steps(task)["b"]
    assert (record.status, record.attempts, record.tries) == (StepStatus.PENDING, 1, 0)
    use("shop.charge", lambda: "charged")
    harness.time.skip(UNKNOWN_PAUSE)
    harness.store.wake()
    assert once(harness, task).status is Status.COMPLETED
    assert harness.steps(task)["b"].tries == 1


@pytest.mark.parametrize(("code", "status"), [("not_found", Status.WAITING), ("invalid", Status.FAILED)])
def test_a_function_that_is_not_here_is_left_to_others_and_one_that_is_broken_fails(
    harness: Harness, code: str, status: Status
) -> None:
    as_worker(harness)

    def missing() -> Action:
        raise Fail("there is no module 'newer'", code=code, retryable=False)

    harness.resolve_slowly("newer", missing)
    assert once(harness, harness.create("steps: [{uses: newer}]")).status is status


def test_an_action_that_nobody_knows_for_long_fails_its_step(harness: Harness) -> None:
    as_worker(harness)
    task = harness.create("steps: [{id: a, uses: nobody.knows}]")
    assert once(harness, task).status is Status.WAITING
    harness.time.skip(UNKNOWN_FOR)
    harness.store.wake()
    failed = once(harness, task)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert "unknown action 'nobody.knows'" in failed.error.message


def test_an_error_of_the_action_itself_is_its_own(harness: Harness) -> None:
    as_worker(harness)

    def fails() -> None:
        raise Fail("no such order", code="invalid", retryable=False)

    use("fails", fails)
    assert once(harness, harness.create("steps: [{uses: fails}]")).status is Status.FAILED


def test_a_task_of_a_newer_format_is_left_to_others(harness: Harness) -> None:
    as_worker(harness)
    task = harness.create("steps: [{output: 1}]")
    claim = harness.store.claim(task.task_id, "token", "me")
    assert claim is not None
    over: SimpleQueue[Task | None] = SimpleQueue()
    newer = replace(claim, task=replace(claim.task, format=FORMAT + 1))
    harness.engine.run_claimed(newer, over.put, time.monotonic())
    handed_back = over.get(timeout=PATIENCE)
    assert handed_back is not None
    assert handed_back.status is Status.WAITING


def test_no_step_starts_without_its_lease(harness: Harness) -> None:
    noted, calls = as_worker(harness), list[int]()
    noted.lost_from = 2

    def call(number: int) -> None:
        calls.append(number)

    use("call", call)
    task = harness.create("steps: [{uses: call, with: {number: 1}}, {uses: call, with: {number: 2}}]")
    assert harness.once(task.task_id) is None
    assert (noted.confirmed, calls) == (2, [1])


def test_the_lease_of_a_claim_counts_from_when_it_was_asked_for(harness: Harness) -> None:
    noted = as_worker(harness)
    task = harness.create("steps: [{output: 1}]")
    claim = harness.store.claim(task.task_id, "token", "me")
    assert claim is not None
    harness.engine.run_claimed(claim, lambda _: None, since=42.0)
    assert noted.since == 42.0


def test_who_watches_is_told_which_step_runs(harness: Harness) -> None:
    noted = as_worker(harness)
    once(harness, harness.create("steps: [{id: a, uses: log, with: {message: x}}, {id: b, output: 1}]"))
    assert noted.shown == ["a", None]


def test_of_parallel_steps_the_one_that_must_end_first_is_told(harness: Harness) -> None:
    noted, both = as_worker(harness), threading.Barrier(2)
    use("meet", lambda: both.wait(PATIENCE) and None)
    text = "steps: [{id: p, parallel: [{id: slow, uses: meet, timeout: 9h}, {id: quick, uses: meet, timeout: 1h}]}]"
    assert once(harness, harness.create(text)).status is Status.COMPLETED
    assert "p/quick" in noted.shown
    assert noted.shown[-1] is None


def test_code_that_does_not_yield_is_told_of(tmp_path: Path) -> None:
    harness, abandoned, release = Harness(tmp_path, real_time=True), threading.Event(), threading.Event()
    as_worker(harness, abandoned.set)
    use("resist", lambda: release.wait(PATIENCE) and None)
    task = harness.create("steps: [{uses: resist, timeout: 0.05s}]")
    over: SimpleQueue[Task | None] = SimpleQueue()
    thread = threading.Thread(target=harness.engine.run, args=(task.task_id, over.put), daemon=True)
    thread.start()
    failed = over.get(timeout=PATIENCE)
    assert failed is not None
    assert failed.status is Status.FAILED
    assert abandoned.is_set()
    release.set()
    thread.join(PATIENCE)


def test_a_step_that_fails_during_a_drain_keeps_its_retries(harness: Harness) -> None:
    inside, go_on, calls = threading.Event(), threading.Event(), list[int]()

    def fails_once() -> str:
        calls.append(1)
        if len(calls) > 1:
            return "done"
        inside.set()
        go_on.wait(PATIENCE)
        raise OSError("the disk is busy")

    use("fails_once", fails_once)
    task = harness.create("steps: [{id: a, uses: fails_once, retry: {max_retries: 3, delay: 1h}}]")
    over: SimpleQueue[Task | None] = SimpleQueue()
    threading.Thread(target=harness.engine.run, args=(task.task_id, over.put), daemon=True).start()
    assert inside.wait(PATIENCE)
    threading.Thread(target=harness.engine.drain, args=(PATIENCE,), daemon=True).start()
    while not harness.engine._draining:
        pass
    go_on.set()
    handed_back = over.get(timeout=PATIENCE)
    assert handed_back is not None
    assert (handed_back.status, handed_back.retry_count) == (Status.QUEUED, 0)
    assert harness.steps(task)["a"].tries == 1
    harness.engine = harness.new_engine()
    assert harness.finish(task.task_id).status is Status.COMPLETED
