"""Undo: `compensate` of all that completed, the last one first, once, through crashes, cancels and retries by hand."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

import pytest
from tests.unit.engine_harness import PATIENCE, Crash, Harness, use

from stepwell.engine.scope import Scope
from stepwell.engine.undo import Done
from stepwell.errors import Fail
from stepwell.lifecycle import to_reset
from stepwell.plan import compile_workflow, undoes
from stepwell.ports import Context
from stepwell.strict_yaml import parse
from stepwell.task import Status, StepRecord, StepStatus, Task
from stepwell.workflow import Bundle, Workflow

FAILS = "{id: end, uses: do, with: {what: end, fail: true}}"

SAGA = """
steps:
  - id: reserve
    uses: do
    with: {what: reserve}
    compensate:
      - {id: release, uses: do, with: {what: "release ${{ steps.reserve.output }} for ${{ error.step }}"}}
  - {id: note, uses: do, with: {what: note}}
  - id: charge
    uses: do
    with: {what: charge}
    compensate:
      - {id: refund, uses: do, with: {what: "refund ${{ steps.charge.output }}"}}
      - {id: tell, uses: do, with: {what: tell}}
  - {id: ship, uses: do, with: {what: ship, fail: "${{ variables.fail }}"}}
on_failure: [{id: page, uses: do, with: {what: "page ${{ error.message }}"}}]
on_cancel: [{id: sorry, uses: do, with: {what: sorry}}]
finally: [{id: close, uses: do, with: {what: close}}]
"""

DONE = ["reserve", "note", "charge", "ship"]
UNDONE = ["refund charge", "tell", "release reserve for ship"]

EVERYWHERE = {
    "a group and what is inside it": (
        """
        - id: group
          steps:
            - {id: a, uses: do, with: {what: a}, compensate: [{uses: do, with: {what: "-${{ steps.a.output }}"}}]}
            - {id: b, output: 1}
          compensate: [{uses: do, with: {what: "-group ${{ steps.group.output }}"}}]
        """,
        ["a"],
        ["-group 1", "-a"],
    ),
    "inside a group that failed": (
        """
        - id: group
          steps:
            - {id: a, uses: do, with: {what: a}, compensate: [{uses: do, with: {what: -a}}]}
            - {id: b, uses: do, with: {what: b, fail: true}, compensate: [{uses: do, with: {what: never}}]}
          compensate: [{uses: do, with: {what: never}}]
        """,
        ["a", "b"],
        ["-a"],
    ),
    "inside what was tolerated": (
        """
        - id: group
          on_error: continue
          steps:
            - {id: a, uses: do, with: {what: a}, compensate: [{uses: do, with: {what: -a}}]}
            - {id: b, uses: do, with: {what: b, fail: true}}
        """,
        ["a", "b"],
        ["-a"],
    ),
    "parallel": (
        """
        - parallel:
            - {id: a, uses: do, with: {what: a}, compensate: [{uses: do, with: {what: -a}}]}
            - {id: b, output: 1, needs: [a], compensate: [{uses: do, with: {what: -b}}]}
        """,
        ["a"],
        ["-b", "-a"],
    ),
    "the case of a switch": (
        """
        - switch:
            - if: "false"
              steps: [{id: a, output: 1, compensate: [{uses: do, with: {what: never}}]}]
            - steps: [{id: b, output: 1, compensate: [{uses: do, with: {what: -b}}]}]
        """,
        [],
        ["-b"],
    ),
    "a foreach as a whole": (
        """
        - id: each
          foreach: "[1, 2]"
          output: "${{ item * 10 }}"
          compensate: [{uses: do, with: {what: "-${{ steps.each.output }}"}}]
        """,
        [],
        ["-[10, 20]"],
    ),
    "inside the items of a foreach": (
        """
        - {id: list, output: [x, y, z]}
        - id: each
          foreach: {in: steps.list.output, as: thing}
          steps:
            - id: a
              uses: do
              with: {what: "${{ thing }}"}
              compensate: [{uses: do, with: {what: "-${{ thing }}${{ index }} ${{ steps.a.output }}"}}]
            - {id: b, uses: do, with: {what: "b", fail: "${{ thing == 'z' }}"}}
        """,
        ["x", "b", "y", "b", "z", "b"],
        ["-z2 z", "-y1 y", "-x0 x"],
    ),
    "rounds": (
        """
        - id: again
          until: index == 1
          steps: [{id: a, output: 1, compensate: [{uses: do, with: {what: "-${{ index }}"}}]}]
          compensate: [{uses: do, with: {what: -again}}]
        """,
        [],
        ["-again", "-1", "-0"],
    ),
    "a failing handler, and what was skipped": (
        """
        - {id: a, output: 1, compensate: [{uses: do, with: {what: -a}}]}
        - {id: b, if: "false", output: 1, compensate: [{uses: do, with: {what: never}}]}
        - id: c
          output: 1
          compensate:
            - {uses: do, with: {what: -c, fail: true}}
            - {uses: do, with: {what: never}}
        - {id: d, output: 1, compensate: [{if: error.code == 'other', uses: do, with: {what: never}}]}
        """,
        [],
        ["-c", "-a"],
    ),
    "a handler with groups, retries and a loop": (
        """
        - id: a
          output: [1, 2]
          compensate:
            - {id: first, foreach: steps.a.output, uses: do, with: {what: "-${{ item }}"}}
            - {parallel: [{id: p, uses: flaky, retry: 3}, {id: q, output: 1}]}
            - {uses: do, with: {what: "-${{ steps.first.output | length }}"}}
        """,
        [],
        ["-1", "-2", "-2"],
    ),
    "a handler that waits": (
        """
        - id: a
          output: 1
          compensate:
            - {uses: do, with: {what: "-1"}}
            - {wait: 1h}
            - {uses: do, with: {what: "-2"}}
        - {id: b, output: 1, compensate: [{uses: do, with: {what: -b}}]}
        """,
        [],
        ["-b", "-1", "-2"],
    ),
    "another workflow": (
        """
        - {id: own, output: outer, compensate: [{uses: do, with: {what: "-own ${{ variables.fail }}"}}]}
        - id: call
          foreach: {in: "['x', 'y']", as: who}
          workflow: inner
          with: {who: "${{ who }}"}
          compensate: [{uses: do, with: {what: "-call ${{ steps.call.output }}"}}]
        """,
        ["x", "y"],
        ['-call [{"it": "x"}, {"it": "y"}]', "-y y again", "-x x again", "-own true"],
    ),
    "a race": (
        """
        - id: first
          race:
            - {id: a, output: 1, compensate: [{uses: do, with: {what: -a}}]}
            - {id: b, wait: 1h, compensate: [{uses: do, with: {what: never}}]}
          compensate: [{uses: do, with: {what: "-${{ steps.first.winner }}"}}]
        """,
        [],
        ["-a", "-a"],
    ),
}


INCLUDED = """
included:
  inner:
    variables: {who: {type: string}, more: {type: string, default: again}}
    steps:
      - id: own
        uses: do
        with: {what: "${{ variables.who }}"}
        compensate:
          - {uses: do, with: {what: "-${{ steps.own.output }} ${{ variables.who }} ${{ variables.more }}"}}
    outputs: {it: "${{ steps.own.output }}"}
"""


def _failing(name: str) -> str:
    """The workflow with these steps, and one that fails."""
    steps, _, _ = EVERYWHERE[name]
    return f"steps:{steps}\n        - {FAILS}{INCLUDED}"


@pytest.fixture
def did() -> list[str]:
    """What the action `do` was called with, in order."""
    seen: list[str] = []

    def do(what: str, fail: bool = False) -> str:
        seen.append(what)
        if fail:
            raise Fail(f"{what} fails")
        return what

    def flaky(context: Context) -> None:
        if context.attempt < 3:
            raise Fail("flaky")

    use("do", do)
    use("flaky", flaky)
    return seen


def test_what_completed_is_undone_in_reverse_before_the_final_blocks(harness: Harness, did: list[str]) -> None:
    task = harness.run(SAGA, fail=True)
    assert (task.status, task.error and task.error.message) == (Status.FAILED, "ship fails")
    assert did == [*DONE, *UNDONE, "page ship fails", "close"]
    assert list(harness.steps(task)) == [
        "reserve", "reserve/compensate/release", "note",
        "charge", "charge/compensate/refund", "charge/compensate/tell", "ship",
        "on_failure/page", "finally/close",
    ]  # fmt: skip


def test_what_completes_is_not_undone(harness: Harness, did: list[str]) -> None:
    assert harness.run(SAGA, fail=False).status is Status.COMPLETED
    assert did == [*DONE, "close"]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_completed_is_undone_wherever_it_stands(harness: Harness, did: list[str], name: str) -> None:
    _, done, undone = EVERYWHERE[name]
    task = harness.run(_failing(name), fail=True)
    assert task.status is Status.FAILED
    ending = [] if "failed" in name or "items" in name else ["end"]
    assert did == [*done, *ending, *undone]


def test_undoing_waits_for_the_last_retry_of_the_task(harness: Harness, did: list[str]) -> None:
    task = harness.run(SAGA, retries=2, fail=True)
    assert task.retry_count == 2
    assert did == [*DONE, "ship", "ship", *UNDONE, "page ship fails", "close"]


def test_a_failed_compensation_is_told_and_the_error_of_the_task_stays(harness: Harness, did: list[str]) -> None:
    task = harness.run(_failing("a failing handler, and what was skipped"))
    assert task.error is not None
    assert task.error.step == "end"
    record = harness.steps(task)["c/compensate/uses-1"]
    assert (record.status, record.error and record.error.message) == ("failed", "-c fails")
    assert "c/compensate/uses-2" not in harness.steps(task)


@pytest.mark.parametrize("failing", ["first", "second"])
def test_a_stop_as_cancelled_undoes(harness: Harness, did: list[str], failing: str) -> None:
    task = harness.run(
        """
        steps:
          - {id: a, output: 1, compensate: [{uses: do, with: {what: "-a ${{ error.code }} ${{ error.message }}"}}]}
          - {uses: stop, with: {status: cancelled, message: "${{ variables.why }}"}}
        on_cancel: [{uses: do, with: {what: sorry}}]
        """,
        why="enough" if failing == "first" else "",
    )
    assert task.status is Status.CANCELLED
    told = "stopped enough" if failing == "first" else "cancelled the task was cancelled"
    assert did == [f"-a {told}", "sorry"]


def test_a_stop_as_completed_undoes_nothing(harness: Harness, did: list[str]) -> None:
    task = harness.run(
        "steps: [{id: a, output: 1, compensate: [{uses: do, with: {what: never}}]}, {uses: stop}, {output: 1}]"
    )
    assert (task.status, did) == (Status.COMPLETED, [])


def test_a_running_task_that_is_cancelled_undoes_what_completed(timed: Harness, did: list[str]) -> None:
    started, release = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        while not release.wait(0.01):
            pass

    use("hold", hold)
    created = timed.create(SAGA.replace('uses: do, with: {what: ship, fail: "${{ variables.fail }}"}', "uses: hold"))
    over: SimpleQueue[Task | None] = SimpleQueue()
    threading.Thread(target=timed.engine.run, args=(created.task_id, over.put), daemon=True).start()
    assert started.wait(PATIENCE)
    timed.store.cancel(created.task_id, force=True)
    timed.engine.cancel(created.task_id)
    task = over.get(timeout=PATIENCE)
    assert task is not None
    assert task.status is Status.CANCELLED
    assert did == ["reserve", "note", "charge", "refund charge", "tell", "release reserve for null", "sorry", "close"]
    assert timed.statuses(task)["ship"] == "cancelled"


def test_a_task_that_waits_for_its_retry_is_queued_to_undo_when_it_is_cancelled(
    harness: Harness, did: list[str]
) -> None:
    created = harness.create(SAGA, retries=3, fail=True)
    waiting = harness.once(created.task_id)
    assert waiting is not None
    assert waiting.status is Status.WAITING
    assert harness.store.cancel(created.task_id).status is Status.QUEUED
    task = harness.once(created.task_id)
    assert task is not None
    assert task.status is Status.CANCELLED
    assert did == [*DONE, "refund charge", "tell", "release reserve for null", "sorry", "close"]


def test_a_task_that_was_handed_back_undoes_when_it_is_cancelled(harness: Harness, did: list[str]) -> None:
    created = harness.create(SAGA, fail=False)
    harness.store.crash_at = 3
    with pytest.raises(Crash):
        harness.once(created.task_id)
    harness.lose()
    harness.store.cancel(created.task_id)
    task = harness.once(created.task_id)
    assert task is not None
    assert task.status is Status.CANCELLED
    assert did == ["reserve", "note", "release reserve for null", "sorry", "close"]
    assert set(harness.statuses(task).values()) <= {"completed", "cancelled"}


WAITS_WHILE_IT_UNDOES = """
steps:
  - id: reserve
    uses: do
    with: {what: reserve}
    compensate: [{id: agreed, wait: 1h}, {uses: do, with: {what: "release for ${{ error.step }}"}}]
  - {id: ship, uses: do, with: {what: ship, fail: true}}
on_failure: [{uses: do, with: {what: page}}]
on_cancel: [{uses: do, with: {what: sorry}}]
"""


def test_a_failed_task_that_waits_while_it_undoes_stays_failed_though_it_is_cancelled(
    harness: Harness, did: list[str]
) -> None:
    created = harness.create(WAITS_WHILE_IT_UNDOES)
    harness.once(created.task_id)
    assert harness.store.cancel(created.task_id).status is Status.QUEUED
    task = harness.finish(created.task_id)
    assert (task.status, task.error and task.error.step) == (Status.FAILED, "ship")
    assert did == ["reserve", "ship", "release for ship", "page"]


def test_a_cancel_ends_the_wait_in_a_steps_on_failure(harness: Harness, did: list[str]) -> None:
    created = harness.create(
        "steps: [{id: ship, uses: do, with: {what: ship, fail: true}, on_failure: [{id: asked, wait: 1h}]}]\n"
        "finally: [{uses: do, with: {what: close}}]"
    )
    harness.once(created.task_id)
    harness.store.cancel(created.task_id)
    task = harness.once(created.task_id)
    assert task is not None
    assert task.ended
    assert harness.statuses(task)["ship/on_failure/asked"] == "cancelled"
    assert did == ["ship", "close"]


def test_a_task_that_never_ran_is_cancelled_at_once(harness: Harness, did: list[str]) -> None:
    created = harness.create(SAGA, fail=False)
    assert harness.store.cancel(created.task_id).status is Status.CANCELLED
    assert did == []


@pytest.mark.parametrize("name", ["saga", *EVERYWHERE])
def test_a_crash_after_every_commit_undoes_all_the_same_once_and_in_order(
    tmp_path: Path, did: list[str], name: str
) -> None:
    text = SAGA if name == "saga" else _failing(name)
    whole = Harness(tmp_path)
    expected = whole.run(text, fail=True)
    order, statuses = [*did], whole.statuses(expected)
    for crash_at in range(1, whole.store.writes + 1):
        did.clear()
        harness = Harness(tmp_path)
        harness.store.crash_at = crash_at
        created = harness.create(text, fail=True)
        with pytest.raises(Crash):
            harness.finish(created.task_id)
        task = _gone_on_with(harness, created)
        assert (task.status, did, harness.statuses(task)) == (Status.FAILED, order, statuses)


def test_what_is_being_undone_is_not_retried_after_a_crash(harness: Harness, did: list[str]) -> None:
    """Of two failures the first one counts, and a later run does not know which came first."""
    failed = threading.Event()

    def fail_for_good() -> None:
        failed.set()
        raise Fail("for good", retryable=False)

    def fail_later() -> None:
        failed.wait(PATIENCE)
        raise Fail("later")

    def undo() -> None:
        did.append("undo")
        harness.store.crash_at = harness.store.writes + 1

    use("fail_for_good", fail_for_good)
    use("fail_later", fail_later)
    use("undo", undo)
    created = harness.create(
        """
        steps:
          - {id: a, output: 1, compensate: [{uses: undo}, {uses: do, with: {what: more}}]}
          - {id: b, uses: fail_later, needs: [a]}
          - {id: c, uses: fail_for_good, needs: [a]}
        """,
        retries=3,
    )
    with pytest.raises(Crash):
        harness.once(created.task_id)
    task = harness.resume_after_crash(created.task_id)
    assert (task.status, task.retry_count, did) == (Status.FAILED, 0, ["undo", "more"])


def test_of_steps_that_ended_at_the_same_time_the_outer_and_later_is_undone_first() -> None:
    block = compile_workflow(Workflow.model_validate({"steps": [{"output": 1}]})).steps

    def done(position: str, completed_at: float) -> Done:
        record = StepRecord("x", position, StepStatus.COMPLETED, "output", completed_at=completed_at)
        return Done(block, Scope(block, "", "0"), record)

    positions = ["0.000001", "0.000002.000000.000001", "0.000002.000000", "0.000002.000001", "0.000002", "0.000010"]
    ordered = [done("0.000999", 1.0), *(done(position, 2.0) for position in positions), done("0.000000", 3.0)]
    mixed = [*ordered[1::2], *ordered[::2]]
    assert sorted(mixed, key=lambda one: one.order) == ordered


def _gone_on_with(harness: Harness, task: Task) -> Task:
    """The task, once another process has taken it to its end."""
    harness.lose()
    task = harness.store.get(task.task_id)
    if task.status is Status.WAITING and task.wake_at is not None:
        harness.time.skip(task.wake_at - harness.store.now() + 1)
        harness.store.wake()
    return task if task.ended else harness.finish(task.task_id)


def _retried(harness: Harness, task: Task, *paths: str) -> Task:
    reset = to_reset(harness.store.steps(task.task_id).items, paths)
    harness.store.retry(task.task_id, reset, task.attempt)
    return harness.finish(task.task_id)


def test_a_retry_by_hand_does_again_what_was_undone_and_undoes_it_again(harness: Harness, did: list[str]) -> None:
    task = harness.run(SAGA, fail=True)
    did.clear()
    task = _retried(harness, task)
    assert task.status is Status.FAILED
    assert did == ["reserve", "charge", "ship", *UNDONE, "page ship fails", "close"]


def test_a_retry_by_hand_that_fails_once_more_by_itself_does_nothing_twice(harness: Harness, did: list[str]) -> None:
    """What is left of the first undoing must not count as undone in the pause before a retry of the task."""
    task = harness.run(SAGA, retries=1, fail=True)
    did.clear()
    task = _retried(harness, task)
    assert did == ["reserve", "charge", "ship", "ship", *UNDONE, "page ship fails", "close"]


def test_a_retry_by_hand_goes_into_the_groups_and_items_that_were_undone(harness: Harness, did: list[str]) -> None:
    task = harness.run(
        """
        steps:
          - id: each
            foreach: "['x', 'y']"
            steps:
              - {id: free, uses: do, with: {what: "free ${{ item }}"}}
              - switch:
                  - if: item == 'y'
                    steps: [{id: a, uses: do, with: {what: "${{ item }}"}, compensate: [{uses: do, with: {what: -y}}]}]
          - {id: end, uses: do, with: {what: end, fail: true}}
        """
    )
    did.clear()
    _retried(harness, task)
    assert did == ["y", "end", "-y"]


def test_a_race_whose_winner_was_undone_is_run_again(harness: Harness, did: list[str]) -> None:
    task = harness.run(_failing("a race"))
    did.clear()
    task = _retried(harness, task)
    assert did == ["end", "-a", "-a"]
    assert harness.statuses(task)["first/b"] == "cancelled"


def test_undoing_sees_the_secrets_and_time_of_its_own(harness: Harness, did: list[str]) -> None:
    task = harness.run(
        """
        steps:
          - id: a
            output: 1
            compensate: [{id: u, output: "${{ error.code }} ${{ steps.a.status }} ${{ task.id == variables.none }}"}]
          - {id: b, uses: do, with: {what: b, fail: true}}
        """,
        none=None,
    )
    assert harness.output(task, "a/compensate/u") == "step_failed completed false"


@pytest.mark.parametrize(
    ("steps", "undo"),
    [
        ("steps: [{output: 1}]", False),
        ("{steps: [{output: 1}], on_failure: [{output: 1}]}", False),
        ("{steps: [{output: 1}], on_cancel: [{output: 1}]}", True),
        ("{steps: [{output: 1}], finally: [{output: 1}]}", True),
        ("steps: [{output: 1, compensate: [{output: 1}]}]", True),
        ("steps: [{steps: [{parallel: [{output: 1, compensate: [{output: 1}]}]}]}]", True),
        ("steps: [{switch: [{steps: [{output: 1, queue: chat_process}]}]}]", True),
        ("steps: [{race: [{output: 1, compensate: [{output: 1}]}]}]", True),
        ("{steps: [{output: 1, on_failure: [{output: 1, queue: chat_process}]}]}", True),
        ("{steps: [{output: 1}], on_failure: [{output: 1, queue: chat_process}]}", True),
        ("steps: [{workflow: x}]\nincluded: {x: {steps: [{output: 1}]}}", False),
        ("steps: [{workflow: x}]\nincluded: {x: {steps: [{output: 1, compensate: [{output: 1}]}]}}", True),
        ("steps: [{workflow: x}]\nincluded: {x: {steps: [{output: 1}], finally: [{output: 1}]}}", True),
    ],
)
def test_what_has_something_to_undo(steps: str, undo: bool) -> None:
    bundle = Bundle.model_validate(parse(steps).data)
    assert undoes(bundle.model_dump_json(by_alias=True, exclude_unset=True)) is undo


# -- child tasks -------------------------------------------------------------------------------------------------------


def _with_children(harness: Harness, task_id: str) -> Task:
    """The task once it has ended, its children run as they are queued, the task itself when nothing else is."""
    while not (task := harness.store.get(task_id)).ended:
        queued = [one.task_id for one in harness.store.queued(0)]
        children = [one for one in queued if one != task_id]
        assert queued, f"nothing goes on: {task.status}"
        harness.once(children[0] if children else task_id)
    return task


SPREAD = """
steps:
  - id: one
    queue: chat_process
    uses: do
    with: {what: one}
    compensate: [{uses: do, with: {what: "-${{ steps.one.output }}"}}]
  - id: each
    queue: chat_process
    foreach: "['x', 'y']"
    uses: do
    with: {what: "${{ item }}"}
    compensate: [{foreach: steps.each.output, uses: do, queue: chat_process, with: {what: "-${{ item }}"}}]
  - id: call
    queue: chat_process
    workflow: inner
    with: {who: z}
    compensate: [{workflow: inner, queue: chat_process, with: {who: "-${{ steps.call.output.it }}"}}]
  - {id: end, uses: do, with: {what: end, fail: true}}
finally: [{uses: do, with: {what: close}}]
"""


def test_steps_that_ran_as_child_tasks_are_undone_by_child_tasks(harness: Harness, did: list[str]) -> None:
    created = harness.create(SPREAD + INCLUDED)
    task = _with_children(harness, created.task_id)
    assert task.status is Status.FAILED
    assert did == ["one", "x", "y", "z", "end", "-z", "-x", "-y", "-one", "close"]


def test_after_a_cancel_child_tasks_undo_too(harness: Harness, did: list[str]) -> None:
    created = harness.create(SPREAD.replace("uses: do, with: {what: end, fail: true}", "wait: 1h") + INCLUDED)
    while "z" not in did:
        harness.once(harness.store.queued(0)[-1].task_id)
    while harness.store.get(created.task_id).status is Status.QUEUED:
        harness.once(created.task_id)
    assert harness.store.cancel(created.task_id).status is Status.QUEUED
    task = _with_children(harness, created.task_id)
    assert task.status is Status.CANCELLED
    assert did[4:] == ["-z", "-x", "-y", "-one", "close"]
    assert harness.statuses(task)["end"] == "cancelled"


def test_a_retry_by_hand_runs_child_tasks_again_that_were_undone(harness: Harness, did: list[str]) -> None:
    task = _with_children(harness, harness.create(SPREAD + INCLUDED).task_id)
    did.clear()
    harness.store.retry(task.task_id, to_reset(harness.store.steps(task.task_id).items), task.attempt)
    task = _with_children(harness, task.task_id)
    assert did == ["one", "x", "y", "z", "end", "-z", "-x", "-y", "-one", "close"]


def test_a_part_that_fails_undoes_what_it_did(harness: Harness, did: list[str]) -> None:
    created = harness.create(
        """
        steps:
          - id: each
            queue: chat_process
            foreach: {in: "['x', 'y']", on_item_error: continue}
            steps:
              - id: a
                uses: do
                with: {what: "${{ item }}"}
                compensate: [{uses: do, with: {what: "-${{ item }} ${{ steps.a.output }} ${{ error.step }}"}}]
              - {id: b, uses: do, with: {what: b, fail: "${{ item == 'x' }}"}}
        on_failure: [{uses: do, with: {what: never}}]
        finally: [{uses: do, with: {what: close}}]
        """
    )
    assert _with_children(harness, created.task_id).status is Status.COMPLETED
    assert did == ["x", "b", "-x x b", "y", "b", "close"]
