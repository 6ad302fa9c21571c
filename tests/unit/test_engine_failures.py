"""Failures, retries, time limits, and what runs after them."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from tests.unit.engine_harness import PATIENCE, Harness, use

from stepwell.errors import Fail
from stepwell.lifecycle import to_reset
from stepwell.task import Status, Task


class Flaky:
    """An action that fails a number of times before it succeeds."""

    def __init__(self, failures: int, **fail: Any) -> None:
        self.failures, self.calls, self.fail = failures, 0, fail

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise Fail(f"failure {self.calls}", **self.fail)
        return self.calls


def test_an_exception_becomes_the_error_of_step_and_task(harness: Harness, ran: list[Any]) -> None:
    def break_() -> None:
        raise KeyError("no such thing")

    use("break", break_)
    task = harness.run("steps: [{id: a, uses: break}, {id: b, uses: note, with: {what: b}}]")
    assert task.status is Status.FAILED
    assert task.error is not None
    assert (task.error.code, task.error.step, task.error.path) == ("step_failed", "a", "a")
    assert task.error.message == "KeyError: 'no such thing'"
    shown = harness.steps(task)["a"].error
    assert shown is not None
    assert "in break_" in (shown.traceback or "")
    assert ran == []
    assert harness.statuses(task) == {"a": "failed"}


@pytest.mark.parametrize(
    ("returned", "part"),
    [(float("nan"), "the output is not JSON"), (object(), "the output is not JSON"), ("x" * 17_000_000, "use files")],
)
def test_an_output_that_cannot_be_kept_fails_the_step(harness: Harness, returned: Any, part: str) -> None:
    use("give", lambda: returned)
    task = harness.run("steps: [{id: a, uses: give, retry: 5}]")
    assert task.error is not None
    assert part in task.error.message
    assert harness.steps(task)["a"].attempts == 1


class Odd(BaseException):
    """What no `except Exception` would catch."""


@pytest.mark.parametrize("error", [SystemExit(3), Odd("strange"), GeneratorExit()])
def test_whatever_an_action_raises_is_a_failure(harness: Harness, error: BaseException) -> None:
    def raise_it() -> None:
        raise error

    async def raise_it_later() -> None:
        await asyncio.sleep(0)
        raise error

    use("raise_it", raise_it)
    use("raise_it_later", raise_it_later)
    for name in ("raise_it", "raise_it_later"):
        task = harness.run(f"steps: [{{id: a, uses: {name}}}]")
        assert task.error is not None
        assert task.error.message.startswith(type(error).__name__)


def test_retries_are_counted_and_pause_longer_each_time(harness: Harness) -> None:
    flaky = Flaky(3)
    use("flaky", flaky)
    task = harness.run("steps: [{id: a, uses: flaky, retry: {max_retries: 3, delay: 10s, backoff: 3, jitter: false}}]")
    assert task.status is Status.COMPLETED
    record = harness.steps(task)["a"]
    assert (record.attempts, record.error) == (4, None)
    assert [attempt.error.message if attempt.error else None for attempt in record.history] == [
        "failure 1",
        "failure 2",
        "failure 3",
        None,
    ]
    pauses = [
        later.started_at - (earlier.completed_at or 0)
        for earlier, later in zip(record.history, record.history[1:], strict=False)
    ]
    assert pauses[0] >= 10
    assert pauses[1] >= 30
    assert pauses[2] >= 60  # max_delay


def test_retries_run_out(harness: Harness) -> None:
    flaky = Flaky(99)
    use("flaky", flaky)
    task = harness.run("steps: [{id: a, uses: flaky, retry: 2}]")
    assert flaky.calls == 3
    assert task.error is not None
    assert (task.error.message, task.error.attempt) == ("failure 3", 3)


def test_what_is_not_retryable_is_not_retried(harness: Harness) -> None:
    flaky = Flaky(99, retryable=False, code="card_declined")
    use("flaky", flaky)
    task = harness.run("steps: [{id: a, uses: flaky, retry: 5}]")
    assert flaky.calls == 1
    assert task.error is not None
    assert task.error.code == "card_declined"


def test_retry_if_decides(harness: Harness) -> None:
    flaky = Flaky(99, status=503)
    use("flaky", flaky)
    harness.run("steps: [{id: a, uses: flaky, retry: {max_retries: 5, if: error.status == 503 and error.attempt < 3}}]")
    assert flaky.calls == 3


def test_the_other_sides_wish_to_wait_is_respected(harness: Harness) -> None:
    use("flaky", Flaky(1, retry_after=120.0))
    task = harness.run("steps: [{id: a, uses: flaky, retry: {max_retries: 1, delay: 1s}}]")
    first, second = harness.steps(task)["a"].history
    assert second.started_at - (first.completed_at or 0) >= 120


def test_defaults_retry_holds_for_steps_that_say_nothing(harness: Harness) -> None:
    flaky = Flaky(2)
    use("flaky", flaky)
    task = harness.run("{defaults: {retry: 2}, steps: [{steps: [{id: a, uses: flaky}]}]}")
    assert task.status is Status.COMPLETED
    assert flaky.calls == 3


def test_a_group_retried_goes_on_from_what_failed(harness: Harness, ran: list[Any]) -> None:
    use("flaky", Flaky(2))
    task = harness.run(
        """
        steps:
          - id: group
            retry: 2
            steps: [{id: a, uses: note, with: {what: a}}, {id: b, uses: flaky}]
        """
    )
    assert task.status is Status.COMPLETED
    assert ran == ["a"]


def test_a_tolerated_failure_is_seen_and_passed_over(harness: Harness) -> None:
    use("flaky", Flaky(1))
    task = harness.run(
        """
        steps:
          - {id: a, uses: flaky, on_error: continue}
          - {id: b, output: ["${{ steps.a.status }}", "${{ steps.a.output }}", "${{ steps.a.error.message }}"]}
        """
    )
    assert task.status is Status.COMPLETED
    assert harness.output(task, "b") == ["failed", None, "failure 1"]


def test_after_a_failure_nothing_new_starts_and_the_running_end(harness: Harness, ran: list[Any]) -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise Fail("boom")

    use("fail_now", fail)
    use("outlast", lambda: failed.wait(PATIENCE))
    task = harness.run(
        """
        steps:
          - parallel:
              - {id: bad, uses: fail_now}
              - id: slow
                steps: [{id: running, uses: outlast}, {id: after, uses: note, with: {what: after}}]
          - {id: later, uses: note, with: {what: later}}
        """
    )
    assert task.status is Status.FAILED
    assert ran == []
    assert harness.statuses(task) == {
        "parallel-1": "failed",
        "parallel-1/bad": "failed",
        "parallel-1/slow": "cancelled",
        "parallel-1/slow/running": "completed",
    }


def test_failure_blocks_run_once_and_see_the_error(harness: Harness, ran: list[Any]) -> None:
    use("flaky", Flaky(99))
    task = harness.run(
        """
        steps:
          - id: a
            uses: flaky
            on_failure: [{uses: note, with: {what: "step: ${{ error.message }}"}}]
        on_failure: [{id: page, uses: note, with: {what: "task: ${{ error.step }}"}}]
        on_cancel: [{uses: note, with: {what: never}}]
        finally: [{uses: note, with: {what: finally}}]
        """
    )
    assert task.status is Status.FAILED
    assert ran == ["step: failure 1", "task: a", "finally"]
    assert list(harness.steps(task)) == ["a", "a/on_failure/uses-1", "on_failure/page", "finally/uses-1"]


def test_a_failing_finally_fails_a_task_that_had_completed(harness: Harness) -> None:
    use("flaky", Flaky(1))
    task = harness.run("{steps: [{output: 1}], finally: [{id: z, uses: flaky}]}")
    assert (task.status, task.error and task.error.step) == (Status.FAILED, "z")


def test_a_failing_on_failure_keeps_the_first_error(harness: Harness) -> None:
    use("flaky", Flaky(9))
    task = harness.run("{steps: [{id: a, uses: flaky}], on_failure: [{id: b, uses: flaky}]}")
    assert task.error is not None
    assert task.error.message == "failure 1"


def test_a_task_retry_goes_on_from_the_failed_step(harness: Harness, ran: list[Any]) -> None:
    use("flaky", Flaky(2))
    task = harness.run(
        """
        steps: [{id: a, uses: note, with: {what: a}}, {id: b, uses: flaky}]
        on_failure: [{uses: note, with: {what: failure}}]
        finally: [{uses: note, with: {what: finally}}]
        """,
        retries=2,
    )
    assert task.status is Status.COMPLETED
    assert (task.retry_count, task.attempt) == (2, 3)
    assert ran == ["a", "finally"]
    assert harness.steps(task)["b"].attempts == 3


def test_a_task_whose_retries_are_used_up_fails(harness: Harness, ran: list[Any]) -> None:
    flaky = Flaky(99)
    use("flaky", flaky)
    task = harness.run(
        "{steps: [{id: b, uses: flaky, retry: 1}], on_failure: [{uses: note, with: {what: once}}]}", retries=1
    )
    assert (task.status, flaky.calls, ran) == (Status.FAILED, 4, ["once"])


@pytest.mark.parametrize(
    "step",
    [
        "{id: a, output: '${{ variables.gone }}'}",
        "{id: a, if: variables.gone, output: 1}",
        "{id: a, foreach: variables.gone, output: 1}",
        "{id: a, uses: log, with: {message: '${{ variables.gone }}'}, retry: 5}",
        "{id: a, until: variables.gone, output: 1}",
        "{id: a, uses: log, with: {message: x}, timeout: '${{ variables.gone }}'}",
    ],
)
def test_an_expression_that_fails_fails_the_step_by_name(harness: Harness, step: str) -> None:
    task = harness.run(f"steps: [{step}]")
    assert task.error is not None
    assert (task.error.code, task.error.step, task.error.retryable) == ("expression", "a", False)
    assert "variables.gone" in task.error.message


def test_outputs_that_fail_fail_the_task(harness: Harness) -> None:
    task = harness.run("{steps: [{output: 1}], outputs: {x: '${{ variables.gone }}'}}")
    assert task.error is not None
    assert task.error.message.startswith("outputs: ")


# -- time limits: in real time, since they interrupt real code --------------------------------------------------------


def test_python_code_is_interrupted_at_its_time_limit(timed: Harness) -> None:
    def spin() -> None:
        while True:
            pass

    use("spin", spin)
    task = timed.run("steps: [{id: a, uses: spin, timeout: 50ms}]", timeout=60)
    assert task.error is not None
    assert (task.error.code, task.error.step) == ("timeout", "a")


def test_an_async_action_is_cancelled_at_its_time_limit(timed: Harness) -> None:
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    use("hang", hang)
    task = timed.run("steps: [{id: a, uses: hang, timeout: 50ms}]", timeout=60)
    assert (task.error and task.error.code, cancelled) == ("timeout", [True])


def test_a_process_is_killed_at_its_time_limit(timed: Harness) -> None:
    task = timed.run("steps: [{id: a, run: 'sleep 60 & sleep 60', timeout: 100ms}]", timeout=90)
    assert task.error is not None
    assert task.error.code == "timeout"


def test_code_that_does_not_yield_is_abandoned_and_the_task_goes_on(timed: Harness) -> None:
    stuck, release = threading.Event(), threading.Event()

    def block() -> None:
        stuck.set()
        release.wait(PATIENCE)  # blocks in C: an exception raised into this thread waits for its return

    use("block", block)
    created = timed.create(
        "steps: [{id: a, uses: block, timeout: 50ms, on_error: continue}, {id: b, output: on}]", timeout=60
    )
    over: SimpleQueue[Task | None] = SimpleQueue()
    driver = threading.Thread(target=timed.engine.run, args=(created.task_id, over.put))
    driver.start()
    ended = over.get(timeout=PATIENCE)
    assert ended is not None
    assert ended.status is Status.COMPLETED
    assert timed.statuses(ended) == {"a": "failed", "b": "completed"}
    assert driver.is_alive()  # the thread keeps its place until the code returns
    release.set()
    driver.join(PATIENCE)
    assert not driver.is_alive()
    assert over.empty()


def test_the_tasks_time_limit_ends_a_step_and_runs_finally(timed: Harness) -> None:
    def spin() -> None:
        while True:
            pass

    use("spin", spin)
    task = timed.run(
        """
        steps: [{id: a, uses: spin, on_error: continue, retry: 3}, {id: b, output: 1}]
        finally: [{id: z, output: 2}]
        """,
        timeout=0.2,
        retries=3,
    )
    assert task.error is not None
    assert (task.status, task.error.code) == (Status.FAILED, "timeout")
    assert timed.statuses(task) == {"a": "failed", "finally/z": "completed"}


def test_a_groups_time_limit_holds_for_all_inside(timed: Harness) -> None:
    def spin() -> None:
        while True:
            pass

    use("spin", spin)
    task = timed.run(
        """
        steps:
          - id: group
            timeout: 100ms
            on_error: continue
            steps: [{id: a, uses: spin, on_error: continue}, {id: b, output: 1}]
          - {id: after, output: 1}
        """,
        timeout=60,
    )
    assert timed.statuses(task) == {"group": "failed", "group/a": "failed", "after": "completed"}


def test_retries_do_not_outlive_the_tasks_time(timed: Harness) -> None:
    flaky = Flaky(99)
    use("flaky", flaky)
    task = timed.run("steps: [{id: a, uses: flaky, retry: {max_retries: 9, delay: 4s, jitter: false}}]", timeout=3)
    assert (task.status, flaky.calls) == (Status.FAILED, 1)


def test_a_pause_for_which_the_task_is_suspended_takes_none_of_its_time(harness: Harness) -> None:
    flaky = Flaky(2)
    use("flaky", flaky)
    task = harness.run("steps: [{id: a, uses: flaky, retry: {max_retries: 9, delay: 1d, max_delay: 1d}}]", timeout=3600)
    assert (task.status, flaky.calls) == (Status.COMPLETED, 3)


@pytest.mark.parametrize("swallow", [True, False])
def test_code_that_catches_its_interrupt_frees_the_thread(timed: Harness, swallow: bool) -> None:
    def stubborn() -> str:
        try:
            while True:
                pass
        except BaseException as error:
            if swallow:
                return "I will not go"
            raise RuntimeError("wrapped") from error

    use("stubborn", stubborn)
    task = timed.run("steps: [{id: a, uses: stubborn, timeout: 50ms}, {id: b, output: 1}]", timeout=60)
    assert task.status == ("completed" if swallow else "failed")


def test_until_does_not_outlive_the_tasks_time(harness: Harness) -> None:
    task = harness.run("steps: [{id: a, output: 1, until: false, every: 1h}]", timeout=60)
    assert (task.error and task.error.code) == "timeout"
    assert task.ran_for < 600


def test_a_stop_in_finally_ends_only_that(harness: Harness) -> None:
    task = harness.run("{steps: [{output: 1}], finally: [{id: s, uses: stop}, {id: never, uses: stop}]}")
    assert task.status is Status.COMPLETED
    assert "finally/never" not in harness.steps(task)


def test_outputs_that_fail_after_a_stop_fail_the_task(harness: Harness) -> None:
    task = harness.run("{steps: [{uses: stop}, {id: b, output: {x: 1}}], outputs: {x: '${{ steps.b.output.x }}'}}")
    assert (task.status, task.error and task.error.code) == (Status.FAILED, "expression")


def test_a_hand_retry_runs_all_items_again_that_failed_and_only_these(harness: Harness) -> None:
    calls: list[int] = []

    def work(item: int) -> int:
        calls.append(item)
        if item in (1, 3) and calls.count(item) == 1:
            raise Fail(f"item {item}")
        return item

    use("work", work)
    task = harness.run(
        "steps: [{id: e, foreach: {in: 'range(5)', max_failed: 1}, uses: work, with: {item: '${{ item }}'}}]"
    )
    assert task.status is Status.FAILED
    harness.store.retry(task.task_id, to_reset(harness.store.steps(task.task_id).items), task.attempt)
    again = harness.finish(task.task_id)
    assert again.status is Status.COMPLETED
    assert harness.output(again, "e") == [0, 1, 2, 3, 4]
    assert calls == [0, 1, 2, 3, 1, 3, 4]


def test_many_attempts_keep_a_record_small(harness: Harness) -> None:
    use("flaky", Flaky(300))
    task = harness.run("steps: [{id: a, uses: flaky, retry: {max_retries: 300, delay: 1ms, max_delay: 1ms}}]")
    record = harness.steps(task)["a"]
    assert record.attempts == 301
    assert [attempt.number for attempt in record.history] == [*range(1, 26), *range(276, 302)]


def test_a_remote_wish_to_wait_is_bounded(harness: Harness) -> None:
    use("flaky", Flaky(1, retry_after=1e9))
    task = harness.run("steps: [{id: a, uses: flaky, retry: 1}]")
    first, second = harness.steps(task)["a"].history
    assert second.started_at - (first.completed_at or 0) < 7200


def test_an_action_that_ends_the_loop_ends_no_other(harness: Harness) -> None:
    async def ends_the_loop() -> None:
        async def leave() -> None:
            raise SystemExit(1)

        task = asyncio.create_task(leave())
        await asyncio.wait([task])

    async def fine() -> int:
        await asyncio.sleep(0)
        return 1

    use("ends_the_loop", ends_the_loop)
    use("fine", fine)
    harness.run("steps: [{id: a, uses: ends_the_loop, on_error: continue}]")
    assert harness.output(harness.run("steps: [{id: b, uses: fine}]"), "b") == 1
