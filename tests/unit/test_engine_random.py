"""Random workflows with random crashes, held against an interpreter that is too simple to be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.engine_harness import Crash, Harness, use

from stepwell.errors import Fail
from stepwell.task import Status, Task
from stepwell.values import decode, encode

Step = dict[str, Any]


def leaf(fails: bool, tolerated: bool, retries: int, condition: bool | None) -> Step:
    step: Step = {"uses": "act", "with": {"fails": fails}, "retry": {"max_retries": retries, "delay": "1s"}}
    if tolerated:
        step["on_error"] = "continue"
    return step if condition is None else {**step, "if": condition}


LEAVES = st.builds(
    leaf,
    fails=st.sampled_from([False, False, False, True]),
    tolerated=st.booleans(),
    retries=st.integers(0, 1),
    condition=st.sampled_from([None, None, True, False]),
)
PURE = st.builds(lambda value: {"output": value}, st.integers(0, 9) | st.lists(st.text("ab€", max_size=3), max_size=2))
EACH = st.builds(
    lambda count, parallel, bad: {
        "foreach": {"in": list(range(count)), "max_parallel": parallel, "on_item_error": "continue"},
        "uses": "act",
        "with": {"fails": "${{ item == " + str(bad) + " }}"},
    },
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(0, 9),
)
AGAIN = st.builds(
    lambda rounds: {"until": f"index == {rounds}", "uses": "act", "with": {"fails": False}}, st.integers(0, 2)
)
WAIT = st.builds(lambda wait: {"wait": wait}, st.sampled_from(["0s", "400ms", "1h"]))
RACE = st.builds(lambda racer: {"race": [racer, {"wait": "30d"}]}, LEAVES | PURE)


def grouped(inner: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    steps = st.lists(inner, min_size=1, max_size=3)
    return (
        st.builds(lambda inside: {"steps": inside}, steps)
        | st.builds(lambda inside: {"parallel": inside}, steps)
        | st.builds(lambda inside: {"steps": inside, "on_error": "continue"}, steps)
        | st.builds(
            lambda held, one, two: {"switch": [{"if": held, "steps": one}, {"steps": two}]}, st.booleans(), steps, steps
        )
    )


STEPS = st.lists(
    st.recursive(LEAVES | PURE | EACH | AGAIN | WAIT | RACE, grouped, max_leaves=8), min_size=2, max_size=6
)


def named(steps: list[Step], number: Callable[[], int]) -> list[Step]:
    """The steps with ids everywhere, which actions tell by their context."""
    result = []
    for step in steps:
        step = {**step, "id": f"s{number()}"}
        for key in ("steps", "parallel", "race"):
            if key in step:
                step[key] = named(step[key], number)
        if "switch" in step:
            step["switch"] = [{**case, "steps": named(case["steps"], number)} for case in step["switch"]]
        result.append(step)
    return result


class Failed(Exception):
    """The interpreter's way of saying that a list of steps failed."""


def interpret(steps: list[Step]) -> list[Any]:
    """The outputs of a list of steps."""
    return [one(step) for step in steps]


def one(step: Step) -> Any:
    if step.get("if") is False:
        return None
    try:
        return body(step)
    except Failed:
        if step.get("on_error") == "continue":
            return None
        raise


def body(step: Step) -> Any:
    if "output" in step:
        return step["output"]
    if "wait" in step:
        return None
    if "race" in step:
        try:
            return one(step["race"][0])
        except Failed:
            return None
    if "foreach" in step:
        items = step["foreach"]["in"]
        bad = int(step["with"]["fails"].split()[3])
        return [None if item == bad else f"{step['id']}" for item in items]
    if "steps" in step:
        return interpret(step["steps"])[-1]
    if "parallel" in step:
        outputs, failures = {}, 0
        for inner in step["parallel"]:
            try:
                outputs[inner["id"]] = one(inner)
            except Failed:
                failures += 1
        if failures:
            raise Failed
        return outputs
    if "switch" in step:
        chosen = next(case for case in step["switch"] if case.get("if", True))
        return interpret(chosen["steps"])[-1]
    if step["with"]["fails"]:
        raise Failed
    return step["id"]


def expected(steps: list[Step]) -> tuple[str, Any]:
    try:
        return "completed", interpret(steps)[-1]
    except Failed:
        return "failed", None


def run_with_crashes(harness: Harness, task: Task, crashes: list[int], calls: Counter[str]) -> Task:
    """Run it to its end; the process dies at these writes, counted from its start.

    What was committed at a crash must not run again.
    """
    done: dict[str, int] = {}
    for crash_at in crashes:
        harness.store.crash_at = harness.store.writes + crash_at
        try:
            return harness.finish(task.task_id)
        except Crash:
            if harness.store.get(task.task_id).ended:
                return harness.store.get(task.task_id)
            done.update({path: calls[path] for path, record in harness.steps(task).items() if record.ended})
            was_running = harness.store.get(task.task_id).status is Status.RUNNING
            assert harness.lose() == [task.task_id] * was_running
            if harness.store.get(task.task_id).ended:
                return harness.store.get(task.task_id)
    harness.store.crash_at = None
    ended = harness.finish(task.task_id)
    assert {path: calls[path] for path in done} == done
    return ended


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(STEPS, st.lists(st.integers(1, 8), min_size=1, max_size=2), st.booleans(), st.sampled_from([0.0, 5.0]))
def test_random_workflows_end_as_interpreted_whatever_crashes(
    steps: list[Step], crashes: list[int], before: bool, suspend_after: float
) -> None:
    counter = iter(range(1000))
    workflow = {"steps": named(steps, lambda: next(counter))}
    status, output = expected(workflow["steps"])
    calls: Counter[str] = Counter()
    failures: Counter[str] = Counter()

    def act(fails: bool, context: Any) -> str:
        calls[context.path] += 1
        if fails:
            failures[context.path] += 1
            raise Fail("as it should")
        return str(context.step_id)

    use("act", act)
    with TemporaryDirectory() as folder:
        harness = Harness(Path(folder), suspend_after=suspend_after)
        harness.store.before = before
        created = harness.create(encode({**workflow, "outputs": {"last": _last(workflow["steps"])}}))
        task = run_with_crashes(harness, created, crashes, calls)
        assert task.status == status, task.error
        if task.status is Status.COMPLETED:
            assert isinstance(task.outputs, str)
            assert decode(task.outputs)["last"] == output
        for path, record in harness.steps(task).items():
            assert record.status not in ("running", "waiting"), path
        assert harness.store.counts()["workflow_execute"].get("running", 0) == 0
    too_often = {path: count for path, count in calls.items() if count > 2 + len(crashes)}
    assert not too_often
    succeeded = {path: calls[path] for path in calls if not failures[path] and calls[path] > 1 + len(crashes)}
    assert not succeeded


def _last(steps: list[Step]) -> str:
    return "${{ steps." + str(steps[-1]["id"]) + ".output }}"


def test_the_check_finds_a_lost_step(harness: Harness) -> None:
    """The checker itself: a store that loses a committed step is caught by the counts."""
    calls: Counter[str] = Counter()

    def act(fails: bool, context: Any) -> str:
        calls[context.path] += 1
        return str(fails)

    use("act", act)
    created = harness.create(encode({"steps": named([leaf(False, False, 0, None)] * 3, iter(range(9)).__next__)}))
    harness.store.crash_at = 3
    with pytest.raises(Crash):
        harness.once(created.task_id)
    entry = harness.store._entries[created.task_id]
    entry.steps.pop("s0")  # the planted fault
    harness.resume_after_crash(created.task_id)
    assert calls["s0"] == 2
