"""Crashes, cancels and hand-overs: what was committed stands, everything else goes on."""

from __future__ import annotations

import math
import threading
from collections import Counter
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from tests.unit.engine_harness import EXTRA, PATIENCE, Crash, Harness, use

from stepwell.errors import ClaimLost, Conflict, Fail, TaskCancelled
from stepwell.ports import Commit
from stepwell.registry import Action
from stepwell.task import Status, StepRecord, Task
from stepwell.values import decode

EVERYTHING = """
variables: {n: {type: integer, default: 3}}
steps:
  - {id: a, uses: count, with: {name: a}}
  - {id: skipped, if: steps.a.output == 'never', uses: count, with: {name: skipped}}
  - id: each
    foreach: {in: "range(4)", max_parallel: 2, on_item_error: continue}
    uses: count
    with: {name: "item-${{ item }}", fail: "${{ item == 1 }}"}
  - parallel:
      - {id: p, uses: count, with: {name: p}}
      - id: group
        steps:
          - {id: g1, uses: count, with: {name: g1}}
          - {id: g2, uses: count, with: {name: "g2-${{ steps.g1.output }}"}}
  - id: choice
    switch:
      - {if: steps.a.output == 'a', steps: [{id: c1, uses: count, with: {name: c1}}]}
      - {steps: [{id: c2, uses: count, with: {name: c2}}]}
  - {id: again, until: index == 2, uses: count, with: {name: "round-${{ index }}"}}
  - id: failing
    uses: count
    with: {name: failing, fail: true}
    on_error: continue
    on_failure: [{id: inner, uses: count, with: {name: "after-${{ error.step }}"}}]
  - {id: ids, output: ["${{ uuid() }}", "${{ random() }}"]}
finally:
  - {id: z, uses: count, with: {name: z}}
outputs:
  each: ${{ steps.each.output }}
  group: ${{ steps.parallel_1.output | default('none') }}
  again: ${{ steps.again.output }}
  status: ${{ steps.failing.status }}
"""


@pytest.fixture
def calls() -> Counter[str]:
    """How often the action `count` was called with each name."""
    counted: Counter[str] = Counter()

    def count(name: str, fail: bool = False) -> str:
        counted[name] += 1
        if fail:
            raise Fail(f"{name} fails")
        return name

    use("count", count)
    return counted


@pytest.mark.parametrize("before", [False, True], ids=["after the write", "before the write"])
def test_a_crash_at_every_write_changes_no_result(tmp_path: Path, calls: Counter[str], before: bool) -> None:
    expected = Harness(tmp_path)
    whole = expected.run(EVERYTHING)
    once = dict(calls)
    for crash_at in range(1, expected.store.writes + 1):
        calls.clear()
        harness = Harness(tmp_path)
        harness.store.before, harness.store.crash_at = before, crash_at
        created = harness.create(EVERYTHING)
        task = _run_through_the_crash(harness, created, calls)
        assert task.status is whole.status
        assert harness.outputs(task) == expected.outputs(whole)
        assert harness.statuses(task) == expected.statuses(whole)
        assert set(calls) == set(once)
        at_most = {name: number + 1 for name, number in once.items()}
        assert not {name: calls[name] for name in calls if calls[name] > at_most[name]}


def _run_through_the_crash(harness: Harness, created: Task, calls: Counter[str]) -> Task:
    try:
        return harness.finish(created.task_id)
    except Crash:
        pass
    if (task := harness.store.get(created.task_id)).ended:
        return task
    done = {record.inputs: calls[_name(record)] for record in harness.steps(task).values() if record.ended}
    task = harness.resume_after_crash(created.task_id)
    again = {record.inputs: calls[_name(record)] for record in harness.steps(task).values() if record.inputs in done}
    assert again == done  # what was committed did not run again
    return task


def _name(record: StepRecord) -> str:
    inputs = decode(record.inputs or "{}")
    return str(inputs.get("name"))


def test_the_same_values_are_derived_after_a_crash(harness: Harness) -> None:
    text = """
        steps:
          - {id: a, output: 1}
          - {id: b, uses: echo, with: {value: ["${{ uuid() }}", "${{ random() }}", "${{ now() }}"]}}
        """
    seen: list[Any] = []
    use("echo", lambda value: seen.append(value))
    harness.store.crash_at = 2
    harness.store.before = True
    created = harness.create(text)
    with pytest.raises(Crash):
        harness.once(created.task_id)
    harness.resume_after_crash(created.task_id)
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_on_crash_fail_runs_at_most_once(harness: Harness, calls: Counter[str]) -> None:
    created = harness.create("steps: [{id: a, uses: count, with: {name: a}, on_crash: fail, retry: 3}]")
    harness.store.crash_at, harness.store.before = 2, True
    with pytest.raises(Crash):
        harness.once(created.task_id)
    task = harness.resume_after_crash(created.task_id)
    assert (task.status, task.error and task.error.code) == (Status.FAILED, "worker_lost")
    assert calls["a"] == 1


def test_a_crash_uses_up_no_retry(harness: Harness) -> None:
    numbers = iter(range(10))

    def flaky() -> int:
        number = next(numbers)
        if number < 3:
            raise Fail("again")
        return number

    use("flaky", flaky)
    created = harness.create("steps: [{id: a, uses: flaky, retry: {max_retries: 2, delay: 1s}}]")
    harness.store.crash_at, harness.store.before = 2, True  # the first attempt's failure is not written
    with pytest.raises(Crash):
        harness.once(created.task_id)
    task = harness.resume_after_crash(created.task_id)
    assert task.status is Status.COMPLETED
    assert harness.steps(task)["a"].attempts == 4


def test_the_rest_of_a_retry_pause_is_waited_for_after_a_crash(harness: Harness) -> None:
    numbers = iter(range(10))

    def flaky() -> None:
        if next(numbers) == 0:
            raise Fail("again")

    use("flaky", flaky)
    created = harness.create("steps: [{id: a, uses: flaky, retry: {max_retries: 1, delay: 50s, jitter: false}}]")
    harness.suspend_after = math.inf
    harness.engine = harness.new_engine()
    harness.store.crash_at = 2
    with pytest.raises(Crash):
        harness.once(created.task_id)
    task = harness.resume_after_crash(created.task_id)
    first, second = harness.steps(task)["a"].history
    assert 50 <= second.started_at - (first.completed_at or 0) < 61  # not 50 more after the 11 until it was taken over


def test_poison_ends_as_worker_lost_after_three_crashes(harness: Harness, calls: Counter[str]) -> None:
    created = harness.create("steps: [{id: a, uses: count, with: {name: a}}]")
    harness.store.before = True
    for _ in range(3):
        harness.store.crash_at = harness.store.writes + 2
        with pytest.raises(Crash):
            harness.once(created.task_id)
        harness.lose()
    task = harness.store.get(created.task_id)
    assert (task.status, task.error and task.error.code, calls["a"]) == (Status.FAILED, "worker_lost", 3)


def test_a_zombie_cannot_write(harness: Harness) -> None:
    created = harness.create("steps: [{id: a, uses: pause}, {id: b, output: 1}]")
    begun, go_on = threading.Event(), threading.Event()
    calls: list[str] = []

    def pause() -> str:
        calls.append("a")
        if len(calls) == 1:
            begun.set()
            go_on.wait(PATIENCE)
            return "zombie"
        return "second"

    use("pause", pause)
    over: SimpleQueue[Task | None] = SimpleQueue()
    zombie = threading.Thread(target=harness.engine.run, args=(created.task_id, over.put))
    zombie.start()
    assert begun.wait(PATIENCE)
    task = harness.resume_after_crash(created.task_id)
    go_on.set()
    assert over.get(timeout=PATIENCE) is None
    zombie.join(PATIENCE)
    assert harness.output(task, "a") == "second"
    assert harness.store.get(created.task_id) == task


# -- cancel and drain -------------------------------------------------------------------------------------------------


class Running:
    """A task that runs in a thread of its own, stopped inside the action `hold`."""

    def __init__(self, harness: Harness, text: str) -> None:
        self.harness, self.inside, self.release = harness, threading.Event(), threading.Event()
        use("hold", self.hold)
        self.interrupted = False
        self.task_id = harness.create(text, timeout=600).task_id
        self.over: SimpleQueue[Task | None] = SimpleQueue()
        threading.Thread(target=harness.engine.run, args=(self.task_id, self.over.put), daemon=True).start()
        assert self.inside.wait(PATIENCE)

    def hold(self) -> str:
        self.inside.set()
        try:
            while not self.release.wait(0.005):
                pass
        except TaskCancelled:
            self.interrupted = True
            raise
        return "released"

    def end(self) -> Task:
        task = self.over.get(timeout=PATIENCE)
        assert task is not None
        return task


HELD = """
steps: [{id: a, output: 1}, {id: held, uses: hold}, {id: after, uses: log, with: {message: after}}]
on_failure: [{output: never}]
on_cancel: [{id: c, output: "${{ steps.a.output }}"}]
finally: [{id: z, output: 1}]
"""


@pytest.fixture
def running(timed: Harness) -> Running:
    return Running(timed, HELD)


def test_a_running_task_is_cancelled_only_by_force(running: Running) -> None:
    with pytest.raises(Conflict) as refused:
        running.harness.store.cancel(running.task_id)
    assert refused.value.status == "running"
    running.harness.store.cancel(running.task_id, force=True)
    running.harness.engine.cancel(running.task_id)
    task = running.end()
    assert task.status is Status.CANCELLED
    assert running.interrupted
    assert running.harness.statuses(task) == {
        "a": "completed",
        "held": "cancelled",
        "on_cancel/c": "completed",
        "finally/z": "completed",
    }


def test_after_a_cancel_nothing_is_announced_even_if_only_the_store_knows(running: Running) -> None:
    running.harness.store.cancel(running.task_id, force=True)  # another process asked; this one is not told
    running.release.set()
    task = running.end()
    assert task.status is Status.CANCELLED
    assert "after" not in running.harness.steps(task)
    assert running.harness.statuses(task)["held"] == "completed"


def test_a_cancel_ends_a_retry_pause(timed: Harness) -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise Fail("again")

    use("fail_once", fail)
    timed.suspend_after = math.inf
    timed.engine = timed.new_engine()
    created = timed.create("steps: [{id: a, uses: fail_once, retry: {max_retries: 1, delay: 1h, max_delay: 1h}}]")
    over: SimpleQueue[Task | None] = SimpleQueue()
    threading.Thread(target=timed.engine.run, args=(created.task_id, over.put), daemon=True).start()
    assert failed.wait(PATIENCE)
    timed.store.cancel(created.task_id, force=True)
    timed.engine.cancel(created.task_id)
    task = over.get(timeout=PATIENCE)
    assert task is not None
    assert task.status is Status.CANCELLED


def test_a_drained_task_is_handed_back_and_goes_on_elsewhere(running: Running) -> None:
    harness = running.harness
    drained: SimpleQueue[bool] = SimpleQueue()
    threading.Thread(target=lambda: drained.put(harness.engine.drain(PATIENCE)), daemon=True).start()
    running.release.set()
    task = running.end()
    assert drained.get(timeout=PATIENCE)
    assert (task.status, task.retry_count, task.crashes) == (Status.QUEUED, 0, 0)
    assert "finally/z" not in harness.steps(task)
    harness.engine = harness.new_engine()
    assert harness.finish(task.task_id).status is Status.COMPLETED
    assert harness.steps(task)["held"].attempts == 1


def test_a_step_that_outlasts_the_drain_is_interrupted_and_uses_up_no_try(running: Running) -> None:
    harness = running.harness
    harness.engine.drain(0.01)
    task = running.end()
    assert task.status is Status.QUEUED
    running.release.set()
    harness.engine = harness.new_engine()
    ended = harness.finish(task.task_id)
    assert ended.status is Status.COMPLETED
    record = harness.steps(ended)["held"]
    assert (record.attempts, record.tries) == (2, 1)


def test_a_lost_claim_interrupts_what_runs(timed: Harness) -> None:
    running = Running(timed, HELD)
    timed.engine._runs[running.task_id].lose()
    assert running.over.get(timeout=PATIENCE) is None
    assert timed.store.get(running.task_id).status is Status.RUNNING


def test_writes_with_a_stale_token_are_refused(harness: Harness) -> None:
    created = harness.create("steps: [{output: 1}]")
    claim = harness.store.claim(created.task_id, "first", "test")
    assert claim is not None
    harness.time.skip(11)
    harness.store.reap()
    assert harness.store.claim(created.task_id, "second", "test") is not None
    with pytest.raises(ClaimLost):
        harness.store.commit(created.task_id, "first", Commit())
    assert EXTRA == {}


def test_what_a_lost_worker_left_running_is_shown_as_cancelled_after_a_cancel(
    harness: Harness, calls: Counter[str]
) -> None:
    created = harness.create("steps: [{id: a, uses: count, with: {name: a}}]\nfinally: [{id: z, output: 1}]")
    harness.store.crash_at, harness.store.before = 2, True
    with pytest.raises(Crash):
        harness.once(created.task_id)
    harness.lose()
    harness.store.cancel(created.task_id)
    task = harness.finish(created.task_id)
    assert task.status is Status.CANCELLED
    assert harness.statuses(task) == {"a": "cancelled", "finally/z": "completed"}
    assert calls["a"] == 1


# -- what a crash must not make the engine forget ---------------------------------------------------------------------

STOPPING = """
steps:
  - id: group
    steps: [{id: s, uses: stop, with: {status: %s, message: enough}}]
  - {id: after, uses: log, with: {message: after}}
finally: [{id: z, uses: log, with: {message: z}}]
"""


@pytest.mark.parametrize("status", ["completed", "cancelled"])
@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_a_stop_is_remembered(harness: Harness, status: str, crash_at: int) -> None:
    created = harness.create(STOPPING % status)
    harness.store.crash_at = crash_at
    task = _run_through_the_crash(harness, created, Counter())
    assert task.status == status
    assert harness.statuses(task) == {"group": "cancelled", "group/s": "completed", "finally/z": "completed"}


def test_a_crash_uses_up_no_retry_of_a_group(harness: Harness) -> None:
    calls: list[str] = []

    def flaky() -> None:
        calls.append("call")
        if len(calls) < 3:
            raise Fail("again")

    use("flaky", flaky)
    created = harness.create("steps: [{id: g, retry: {max_retries: 1, delay: 1s}, steps: [{id: a, uses: flaky}]}]")
    harness.store.crash_at, harness.store.before = 2, True  # in the first try, before its failure is written
    with pytest.raises(Crash):
        harness.once(created.task_id)
    task = harness.resume_after_crash(created.task_id)
    assert (task.status, len(calls)) == (Status.COMPLETED, 3)


def test_a_draining_engine_begins_nothing(harness: Harness, calls: Counter[str]) -> None:
    created = harness.create("steps: [{id: a, uses: count, with: {name: a}}]")
    assert harness.engine.drain(0)
    task = harness.once(created.task_id)
    assert task is not None
    assert task.status is Status.QUEUED
    assert calls == Counter()


def test_a_definition_of_a_newer_version_is_handed_back_for_a_while(harness: Harness) -> None:
    created = harness.create("steps: [{output: 1}]")
    definitions = harness.store._definitions
    definitions[created.definition] = '{"steps": [{"teleport": "home"}]}'
    task = harness.once(created.task_id)
    assert task is not None
    assert (task.status, task.retry_count, task.crashes) == (Status.WAITING, 0, 0)


def test_a_cancel_while_a_module_is_imported_ends_the_task(timed: Harness) -> None:
    importing, release = threading.Event(), threading.Event()

    def slow_to_import() -> Action:
        importing.set()
        release.wait(PATIENCE)
        return Action("slow", print)

    timed.resolve_slowly("slow", slow_to_import)
    created = timed.create("steps: [{id: a, uses: slow}]", timeout=600)
    over: SimpleQueue[Task | None] = SimpleQueue()
    driver = threading.Thread(target=timed.engine.run, args=(created.task_id, over.put), daemon=True)
    driver.start()
    assert importing.wait(PATIENCE)
    timed.store.cancel(created.task_id, force=True)
    timed.engine.cancel(created.task_id)
    task = over.get(timeout=PATIENCE)
    assert task is not None
    assert task.status is Status.CANCELLED
    release.set()
    driver.join(PATIENCE)
    assert not driver.is_alive()
