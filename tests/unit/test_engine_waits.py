"""Steps that wait: for a time, an event, a person; and what pauses let go of meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import pytest
from tests.unit.engine_harness import PATIENCE, Crash, Harness, use

from stepwell.engine import waiting
from stepwell.errors import Conflict, Fail
from stepwell.publishing import Publisher
from stepwell.stores.sql import SqlStore
from stepwell.task import Mail, NewMail, Status, Task
from stepwell.values import encode

DAY = 86_400.0


@pytest.fixture(params=["memory", "sqlite"])
def anywhere(harness: Harness, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """An engine on a store of each kind that needs no server."""
    if request.param == "sqlite":
        harness.store = cast(Any, SqlStore(f"sqlite:///{tmp_path}/test.db", clock=harness.time.now))
        harness.engine = harness.new_engine()
    yield harness
    harness.store.close()


def once(harness: Harness, task: Task) -> Task:
    """One run of the task."""
    after = harness.once(task.task_id)
    assert after is not None
    return after


def begin(harness: Harness, text: str, timeout: float = 1e9, **variables: Any) -> Task:
    """A task that has been run until it waits."""
    task = once(harness, harness.create(text, timeout=timeout, **variables))
    assert task.status is Status.WAITING, task.error
    return task


def send(harness: Harness, task: Task, name: str, payload: object = None, **more: Any) -> None:
    harness.store.send(task.task_id, NewMail(name, encode(payload), **more))


def answer(harness: Harness, task: Task, path: str, **payload: Any) -> None:
    """Answer an approval, as the service does."""
    wait = harness.steps(task)[path].wait if path in harness.steps(task) else None
    send(harness, task, path, payload, sender="ada", once=True, until=wait["due"] if wait else None)


def publish(harness: Harness, name: str, payload: object = None) -> None:
    """Publish an event and wake who waits for it, as the courier does."""
    publication, _ = Publisher(harness.store).publish(name, payload)
    harness.store.rouse(publication)


def wait_of(harness: Harness, task: Task, path: str) -> Any:
    return harness.steps(task)[path].wait


# -- times ------------------------------------------------------------------------------------------------------------


def test_a_time_is_waited_for_by_nobody(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: a, output: 1}, {id: w, wait: 30d}, {id: b, output: 2}]", timeout=DAY)
    assert harness.statuses(task) == {"a": "completed", "w": "waiting"}
    assert task.wake_at == pytest.approx((task.started_at or 0) + 30 * DAY, abs=300)
    assert harness.engine._runs == {}
    ended = harness.finish(task.task_id)
    assert (ended.status, ended.ran_for < DAY) == (Status.COMPLETED, True)
    assert harness.statuses(ended) == {"a": "completed", "w": "completed", "b": "completed"}
    assert harness.output(ended, "w") is None


def test_until_a_time(anywhere: Harness) -> None:
    task = begin(anywhere, "steps: [{id: w, wait: {until: '${{ now() + duration(\"2h\") }}'}}]")
    record = anywhere.steps(task)["w"]
    assert record.wait == {"kind": "time", "due": pytest.approx((record.started_at or 0) + 7200)}
    assert anywhere.finish(task.task_id).status is Status.COMPLETED


@pytest.mark.parametrize("wait", ["{until: '2020-01-01T00:00:00Z'}", "0s"])
def test_a_time_that_is_over_is_not_waited_for(harness: Harness, wait: str) -> None:
    task = once(harness, harness.create(f"steps: [{{id: w, wait: {wait}}}, {{id: b, output: 1}}]"))
    assert (task.status, harness.store.writes) == (Status.COMPLETED, 1)


def test_a_short_time_is_waited_for_at_once(harness: Harness) -> None:
    task = once(harness, harness.create("steps: [{id: w, wait: 900ms}, {id: b, output: 1}]"))
    assert task.status is Status.COMPLETED


def test_a_duration_is_worked_out_once(harness: Harness) -> None:
    seconds = iter([3600, 7200, 10800])
    text = "steps: [{id: a, uses: next}, {id: w, wait: '${{ steps.a.output }}'}, {id: b, wait: 1h}]"
    use("next", lambda: next(seconds))
    task = begin(harness, text)
    due = wait_of(harness, task, "w")["due"]
    send(harness, task, "not for it")  # wakes the task, which goes on waiting for the same time
    again = once(harness, task)
    assert (again.status, again.wake_at, wait_of(harness, again, "w")["due"]) == (Status.WAITING, due, due)


@pytest.mark.parametrize("wait", ["'${{ variables.x }}'", "{until: '${{ variables.x }}'}"])
def test_a_wait_that_cannot_be_worked_out_fails_its_step(harness: Harness, wait: str) -> None:
    task = harness.run(f"variables: {{x: {{type: any}}}}\nsteps: [{{id: w, wait: {wait}}}]", x="soon")
    assert (task.status, task.error and task.error.code) == (Status.FAILED, "expression")
    assert "soon" in str(task.error and task.error.message)


# -- approvals --------------------------------------------------------------------------------------------------------

APPROVAL = """
steps:
  - {id: plan, output: 3}
  - id: approve
    wait: {approval: "Load ${{ steps.plan.output }} files?", timeout: 2d}
  - {id: load, if: steps.approve.output.approved, output: loaded}
"""


@pytest.mark.parametrize("approved", [True, False])
def test_an_approval_waits_for_its_answer(anywhere: Harness, approved: bool) -> None:
    task = begin(anywhere, APPROVAL)
    wait = wait_of(anywhere, task, "approve")
    assert (wait["kind"], wait["message"], wait["approvers"]) == ("approval", "Load 3 files?", None)
    assert set(wait["form"]) == {"approved", "comment"}
    assert wait["form"]["approved"]["type"] == "boolean"
    assert task.wake_at == wait["due"]
    answer(anywhere, task, "approve", approved=approved)
    ended = anywhere.finish(task.task_id)
    assert anywhere.output(ended, "approve") == {"approved": approved, "comment": None}
    assert anywhere.statuses(ended)["load"] == ("completed" if approved else "skipped")
    assert wait_of(anywhere, ended, "approve")["by"] == "ada"


def test_an_answer_that_comes_early_is_kept(anywhere: Harness) -> None:
    created = anywhere.create(APPROVAL)
    answer(anywhere, created, "approve", approved=True)
    assert once(anywhere, created).status is Status.COMPLETED


def test_the_first_answer_counts_and_a_repeat_changes_nothing(anywhere: Harness) -> None:
    task = begin(anywhere, APPROVAL)
    answer(anywhere, task, "approve", approved=True)
    answer(anywhere, task, "approve", approved=True)
    with pytest.raises(Conflict, match="ada"):
        answer(anywhere, task, "approve", approved=False)
    assert anywhere.output(anywhere.finish(task.task_id), "approve")["approved"] is True


def test_a_form_of_ones_own_is_filled_with_defaults(harness: Harness) -> None:
    form = "{amount: {type: integer, required: true}, currency: {type: string, default: EUR}}"
    task = begin(harness, f"steps: [{{id: a, wait: {{approval: How much?, variables: {form}}}}}]")
    assert task.wake_at is None
    answer(harness, task, "a", amount=5)
    assert harness.output(harness.finish(task.task_id), "a") == {"amount": 5, "currency": "EUR"}


def test_an_answer_that_does_not_fit_fails_the_step(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: a, wait: {approval: Really?}}]")
    answer(harness, task, "a", approved="perhaps")
    ended = harness.finish(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.FAILED, "invalid")


def test_nobody_answers_in_time(anywhere: Harness) -> None:
    ended = anywhere.finish(begin(anywhere, APPROVAL).task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.FAILED, "timeout")
    assert ended.error is not None
    assert not ended.error.retryable
    assert anywhere.statuses(ended) == {"plan": "completed", "approve": "failed"}


def test_on_timeout_continue_goes_on_without_an_answer(harness: Harness) -> None:
    text = """
        steps:
          - {id: a, wait: {approval: Really?, timeout: 1h, on_timeout: continue}}
          - {id: b, output: ["${{ steps.a.output }}", "${{ steps.a.status }}", "${{ steps.a.error.code }}"]}
        """
    ended = harness.finish(begin(harness, text).task_id)
    assert ended.status is Status.COMPLETED
    assert harness.output(ended, "b") == [None, "failed", "timeout"]


def test_an_answer_in_time_counts_though_nobody_looked_before_the_time_limit(anywhere: Harness) -> None:
    task = begin(anywhere, APPROVAL)
    anywhere.time.skip(wait_of(anywhere, task, "approve")["due"] - anywhere.store.now() - 60)
    answer(anywhere, task, "approve", approved=True)
    anywhere.time.skip(7200)
    assert anywhere.finish(task.task_id).status is Status.COMPLETED


def test_mail_for_others_does_not_end_a_wait(harness: Harness) -> None:
    task = begin(harness, APPROVAL)
    for number in range(3):
        send(harness, task, "chatter", number)
        assert once(harness, task).status is Status.WAITING
    answer(harness, task, "approve", approved=True)
    assert harness.finish(task.task_id).status is Status.COMPLETED


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_signal_is_an_event_for_one_task(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: w, wait: {event: paid}}]")
    send(harness, task, "paid", {"amount": 5})
    ended = harness.finish(task.task_id)
    assert harness.output(ended, "w") == {"amount": 5}
    assert wait_of(harness, ended, "w")["taken"] == "mail:1"


MATCHED = """
variables: {order: {type: integer, required: true}}
steps:
  - {id: w, wait: {event: order.paid, match: event.order == variables.order and event.amount > 0, timeout: 1d}}
"""


def test_a_published_event_wakes_whom_it_concerns(anywhere: Harness) -> None:
    one, other = begin(anywhere, MATCHED, order=1), begin(anywhere, MATCHED, order=2)
    publish(anywhere, "order.paid", {"order": 2, "amount": 7})
    assert anywhere.store.get(one.task_id).status is Status.WAITING
    assert anywhere.store.get(other.task_id).status is Status.QUEUED
    assert anywhere.output(anywhere.finish(other.task_id), "w") == {"order": 2, "amount": 7}


def test_an_event_that_does_not_match_is_passed_over(harness: Harness) -> None:
    task = begin(harness, MATCHED, order=1)
    publish(harness, "order.paid", {"order": 1, "amount": 0})
    assert once(harness, task).status is Status.WAITING
    publish(harness, "order.paid", {"order": 1, "amount": 3})
    assert harness.output(harness.finish(task.task_id), "w")["amount"] == 3


def test_an_event_between_the_beginning_of_the_task_and_the_wait_is_not_missed(anywhere: Harness) -> None:
    publish(anywhere, "paid", "before the task")
    created = anywhere.create("steps: [{id: a, output: 1}, {id: w, wait: {event: paid}}]")
    publish(anywhere, "paid", "before the wait")
    ended = once(anywhere, created)
    assert ended.status is Status.COMPLETED
    assert anywhere.output(ended, "w") == "before the wait"


def test_an_event_that_the_condition_cannot_be_asked_about_is_passed_over(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: w, wait: {event: paid, match: event.amount > 3}}]")
    for payload in ("text", {"amount": "five"}, {}):
        publish(harness, "paid", payload)
    assert once(harness, task).status is Status.WAITING
    publish(harness, "paid", {"amount": 5})
    ended = harness.finish(task.task_id)
    assert harness.output(ended, "w") == {"amount": 5}
    assert any("passed over" in line for line in harness.logs(ended))


def test_items_share_what_comes_and_steps_do_not(harness: Harness) -> None:
    text = """
        steps:
          - id: each
            foreach: {in: range(3), max_parallel: 3}
            wait: {event: ticket}
          - {id: other, needs: [], wait: {event: ticket}}
        """
    task = begin(harness, text)
    for number in range(3):
        send(harness, task, "ticket", number)
    ended = harness.finish(task.task_id)
    assert harness.output(ended, "each") == [0, 1, 2]
    assert harness.output(ended, "other") == 0


def test_items_one_after_the_other_take_what_came_meanwhile(anywhere: Harness) -> None:
    created = anywhere.create("steps: [{id: each, foreach: range(3), wait: {event: ticket}}]")
    for number in range(2):
        send(anywhere, created, "ticket", number)
    task = once(anywhere, created)
    assert anywhere.statuses(task) == {
        "each": "running",
        "each[0]": "completed",
        "each[1]": "completed",
        "each[2]": "waiting",
    }
    publish(anywhere, "ticket", 2)
    assert anywhere.output(anywhere.finish(task.task_id), "each") == [0, 1, 2]


def test_a_wait_in_every_round(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: r, until: output == 'stop', wait: {event: word}}]")
    for word in ("go", "stop", "late"):
        send(harness, task, "word", word)
    ended = harness.finish(task.task_id)
    assert harness.output(ended, "r") == "stop"
    assert "r[2]" not in harness.steps(ended)


def test_an_event_after_the_time_limit_comes_too_late(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: w, wait: {event: paid, timeout: 1h}}]")
    harness.time.skip(7200)
    publish(harness, "paid", 1)
    assert once(harness, task).status is Status.FAILED


def test_no_topic_shows_a_secret(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secrets={"KEY": "hunter2hunter2"})
    text = "secrets: [KEY]\nsteps: [{id: w, wait: {event: paid, match: event.key == secrets.KEY}}]"
    task = begin(harness, text)
    assert "hunter2" not in str(vars(harness.store))
    publish(harness, "paid", {"key": "hunter2hunter2"})
    ended = harness.finish(task.task_id)
    assert ended.status is Status.COMPLETED
    assert "hunter2" not in str(harness.steps(ended))


def test_an_output_is_shaped_like_any(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: w, wait: {event: paid}, output: '${{ output.amount * 2 }}'}]")
    send(harness, task, "paid", {"amount": 5})
    assert harness.output(harness.finish(task.task_id), "w") == 10


# -- beside others ----------------------------------------------------------------------------------------------------


def test_a_step_beside_a_wait_does_not_hold_it_up(timed: Harness) -> None:
    begun, release = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        assert release.wait(PATIENCE)
        return "held"

    use("hold", hold)
    use("release", release.set)
    text = """
        steps:
          - parallel:
              - {id: long, uses: hold}
              - steps: [{id: w, wait: {event: paid}}, {id: after, uses: release}]
        """
    created = timed.create(text)
    over: SimpleQueue[Task | None] = SimpleQueue()
    threading.Thread(target=timed.engine.run, args=(created.task_id, over.put), daemon=True).start()
    assert begun.wait(PATIENCE)
    send(timed, created, "paid")
    task = over.get(timeout=PATIENCE)
    assert task is not None
    assert task.status is Status.COMPLETED


def test_what_came_in_time_counts_though_the_limit_is_over_before_somebody_looks(
    timed: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_EVERY", 60.0)
    looked, release = threading.Event(), threading.Event()
    mailbox = timed.store.mailbox

    def look(task_id: str, after: int) -> Sequence[Mail]:
        try:
            return mailbox(task_id, after)
        finally:
            looked.set()

    monkeypatch.setattr(timed.store, "mailbox", look)

    def hold() -> None:
        assert looked.wait(PATIENCE)
        send(timed, created, "paid", 7)
        assert release.wait(PATIENCE)

    use("hold", hold)
    use("release", release.set)
    text = """
        steps:
          - parallel:
              - {id: long, uses: hold}
              - id: g
                on_error: continue
                steps: [{id: w, wait: {event: paid, timeout: 1500ms}}, {id: after, uses: release}]
                on_failure: [{uses: release}]
        """
    created = timed.create(text)
    assert timed.output(once(timed, created), "parallel-1/g/w") == 7


def test_the_task_is_not_suspended_while_a_short_pause_is_held(harness: Harness) -> None:
    numbers = iter(range(10))

    def flaky() -> None:
        if next(numbers) == 0:
            raise Fail("again")

    use("flaky", flaky)
    text = "steps: [{parallel: [{id: w, wait: 1h}, {id: a, uses: flaky, retry: {max_retries: 1, delay: 3s}}]}]"
    assert harness.statuses(begin(harness, text))["parallel-1/a"] == "completed"


def test_what_runs_beside_a_wait_ends_before_the_task_is_suspended(harness: Harness) -> None:
    use("act", lambda: 1)
    text = "steps: [{parallel: [{id: a, uses: act}, {id: w, wait: 1h}, {id: e, wait: {event: paid}}]}]"
    task = begin(harness, text)
    assert harness.statuses(task) == {
        "parallel-1": "running",
        "parallel-1/a": "completed",
        "parallel-1/w": "waiting",
        "parallel-1/e": "waiting",
    }
    assert task.wake_at == wait_of(harness, task, "parallel-1/w")["due"]


def test_a_failure_ends_the_waits_beside_it(harness: Harness) -> None:
    use("broken", lambda: 1 / 0)
    text = "steps: [{parallel: [{id: w, wait: 1h}, {id: e, wait: {event: paid}}, {id: a, uses: broken}]}]"
    task = once(harness, harness.create(text))
    assert task.status is Status.FAILED
    assert harness.statuses(task) == {
        "parallel-1": "failed",
        "parallel-1/w": "cancelled",
        "parallel-1/e": "cancelled",
        "parallel-1/a": "failed",
    }


def test_a_task_that_was_cancelled_while_it_waited_begins_nothing(anywhere: Harness) -> None:
    text = """
        steps:
          - {id: g, steps: [{id: w, wait: {event: paid}}, {id: after, output: 1}]}
        finally: [{id: z, output: "${{ steps.g.status }}"}]
        """
    task = begin(anywhere, text)
    assert anywhere.store.cancel(task.task_id).status is Status.QUEUED
    ended = anywhere.finish(task.task_id)
    assert ended.status is Status.CANCELLED
    assert anywhere.statuses(ended) == {"g": "cancelled", "g/w": "cancelled", "finally/z": "completed"}
    assert anywhere.output(ended, "finally/z") == "cancelled"


def test_a_waiting_task_with_nothing_to_undo_is_cancelled_at_once(harness: Harness) -> None:
    task = begin(harness, "steps: [{id: w, wait: {event: paid}}]")
    assert harness.store.cancel(task.task_id).status is Status.CANCELLED


def test_a_drained_task_goes_on_waiting_elsewhere(timed: Harness) -> None:
    begun, release = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    use("hold", hold)
    created = timed.create("steps: [{parallel: [{id: a, uses: hold}, {id: w, wait: {event: paid, timeout: 1h}}]}]")
    over: SimpleQueue[Task | None] = SimpleQueue()
    threading.Thread(target=timed.engine.run, args=(created.task_id, over.put), daemon=True).start()
    assert begun.wait(PATIENCE)
    timed.engine.begin_drain()
    release.set()
    drained = over.get(timeout=PATIENCE)
    assert drained is not None
    assert (drained.status, timed.statuses(drained)["parallel-1/w"]) == (Status.QUEUED, "waiting")
    due = wait_of(timed, drained, "parallel-1/w")["due"]
    timed.engine = timed.new_engine()
    assert once(timed, drained).wake_at == due


# -- pauses and limits ------------------------------------------------------------------------------------------------


def test_the_rest_of_a_long_pause_is_waited_for(anywhere: Harness) -> None:
    numbers = iter(range(10))

    def flaky() -> None:
        if next(numbers) == 0:
            raise Fail("again")

    use("flaky", flaky)
    text = "steps: [{id: a, uses: flaky, retry: {max_retries: 1, delay: 2h, max_delay: 2h, jitter: false}}]"
    task = begin(anywhere, text)
    assert anywhere.statuses(task) == {"a": "pending"}
    failed_at = anywhere.steps(task)["a"].history[0].completed_at or 0
    assert task.wake_at == pytest.approx(failed_at + 7200, abs=600)
    anywhere.time.skip(3000)
    send(anywhere, task, "chatter")
    again = once(anywhere, task)
    assert again.status is Status.WAITING
    assert again.wake_at == pytest.approx(failed_at + 7200, abs=600)
    assert anywhere.finish(task.task_id).status is Status.COMPLETED


def test_rounds_with_long_pauses_hold_nothing(harness: Harness) -> None:
    calls: list[float] = []
    use("poll", lambda: calls.append(harness.store.now()))
    text = "steps: [{id: a, uses: poll, until: index == 2, every: 1h}]"
    ended = harness.finish(begin(harness, text, timeout=600).task_id)
    assert ended.status is Status.COMPLETED
    assert [round((later - first) / 3600, 1) for first, later in pairwise(calls)] == [1.0, 1.0]


def test_the_time_limit_of_a_group_counts_running_time_only(harness: Harness) -> None:
    use("work", lambda: harness.time.skip(4000))
    text = """
        steps:
          - id: g
            timeout: 6000s
            steps: [{id: a, uses: work}, {id: w, wait: 1d}, {id: b, uses: %s}, {id: c, uses: rest}]
        """
    use("rest", lambda: harness.time.skip(1000))
    assert harness.finish(begin(harness, text % "rest").task_id).status is Status.COMPLETED
    late = harness.finish(begin(harness, text % "work").task_id)  # as much again after the wait
    assert (late.status, late.error and late.error.code) == (Status.FAILED, "timeout")


def test_the_time_limit_of_a_group_ends_a_wait_beside_what_runs(timed: Harness) -> None:
    begun, release = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    use("hold", hold)
    use("release", release.set)
    text = """
        steps:
          - parallel:
              - {id: long, uses: hold}
              - id: g
                timeout: 300ms
                on_error: continue
                steps: [{id: w, wait: {event: paid}}]
                on_failure: [{id: f, uses: release}]
        """
    ended = once(timed, timed.create(text))
    assert ended.status is Status.COMPLETED
    assert timed.statuses(ended)["parallel-1/g/w"] == "failed"


# -- crashes ----------------------------------------------------------------------------------------------------------

WAITING = """
steps:
  - {id: a, uses: act}
  - id: p
    parallel:
      - {id: t, wait: 1h}
      - {id: approve, wait: {approval: Really?, timeout: 2h, on_timeout: continue}}
      - {id: each, foreach: {in: range(2), max_parallel: 2}, wait: {event: ticket}}
      - {id: flaky, uses: flaky, retry: {max_retries: 2, delay: 10s}}
  - {id: b, output: "${{ steps.p.output.approve }}"}
outputs: {b: "${{ steps.b.output }}", each: "${{ steps.p.output.each }}"}
"""


def _run_waiting(harness: Harness, crash_at: int | None, before: bool) -> tuple[Task, list[str]]:
    calls: list[str] = []

    def flaky() -> None:
        calls.append("flaky")
        if len(calls) == 2:
            raise Fail("again")

    use("act", lambda: calls.append("act"))
    use("flaky", flaky)
    created = harness.create(WAITING)
    send(harness, created, "ticket", "first")
    send(harness, created, "ticket", "second")
    harness.store.crash_at, harness.store.before = crash_at, before
    while True:
        try:
            ended = harness.finish(created.task_id)
        except Crash:
            if harness.store.get(created.task_id).status is Status.RUNNING:
                harness.lose()
            else:
                harness.engine = harness.new_engine()
            continue
        return ended, calls


@pytest.mark.parametrize("before", [False, True], ids=["after the write", "before the write"])
@pytest.mark.parametrize("suspend_after", [0.0, 5.0, 1e9])
def test_a_crash_at_every_write_changes_nothing_of_what_waits(
    tmp_path: Path, before: bool, suspend_after: float
) -> None:
    def harness() -> Harness:
        return Harness(tmp_path, suspend_after=suspend_after)

    first = harness()
    whole, _ = _run_waiting(first, None, before)
    assert first.outputs(whole) == {"b": None, "each": ["first", "second"]}
    for crash_at in range(1, first.store.writes + 1):
        one = harness()
        ended, calls = _run_waiting(one, crash_at, before)
        assert one.outputs(ended) == first.outputs(whole)
        assert one.statuses(ended) == first.statuses(whole)
        assert len(calls) <= 4


# -- many -------------------------------------------------------------------------------------------------------------


def test_thousands_of_items_wait_at_once(harness: Harness) -> None:
    text = """
        steps:
          - id: each
            foreach: {in: range(3000), max_parallel: 3000}
            wait: {event: ticket, match: event.number == item}
            output: ${{ output.number }}
        """
    task = begin(harness, text)
    for number in reversed(range(3_000)):
        send(harness, task, "ticket", {"number": number})
    ended = harness.finish(task.task_id)
    assert harness.output(ended, "each") == list(range(3_000))


def test_a_plain_task_asks_nobody_for_news(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("mailbox", "published", "suspend"):
        monkeypatch.setattr(harness.store, name, lambda *_, name=name: asked.append(name))
    use("act", lambda: 1)
    task = harness.run("steps: [{parallel: [{id: a, uses: act}, {id: b, uses: act}]}, {id: c, uses: act}]")
    assert (task.status, asked) == (Status.COMPLETED, [])


@pytest.mark.parametrize(
    "wait", ["{event: '${{ secrets.KEY }}'}", "{approval: Publish?, approvers: [ada, '${{ secrets.KEY }}']}"]
)
def test_no_name_that_a_record_shows_holds_a_secret(tmp_path: Path, wait: str) -> None:
    harness = Harness(tmp_path, secrets={"KEY": "hunter2hunter2"})
    task = harness.run(f"secrets: [KEY]\nsteps: [{{id: w, wait: {wait}}}]")
    assert task.error is not None
    assert "holds a secret" in task.error.message
    assert "hunter2" not in repr(harness.steps(task))
