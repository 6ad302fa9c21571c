"""The tree of steps: what the events of real runs make of it, and what fits on a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.engine_harness import Harness, use

from stepwell.cli.follow import Followed, Seen, of_records, shown_path
from stepwell.cli.plain import PlainLines
from stepwell.cli.progress import Reported
from stepwell.cli.tree import Line, cropped, lines, parts
from stepwell.errors import Fail
from stepwell.plan import Plan, compile_definition
from stepwell.task import Event, Task

MANY = """
variables: {numbers: {type: list}}
steps:
  - id: each
    foreach: {in: "${{ variables.numbers }}", max_parallel: 4, on_item_error: continue}
    steps:
      - {id: inner, uses: even, with: {x: "${{ item }}"}}
  - id: again
    until: index == 2
    output: 1
  - id: choice
    switch:
      - {if: "false", steps: [{id: not_taken, output: 1}]}
      - steps: [{id: taken, output: 2}]
  - {id: skipped, if: "false", output: 1}
  - {id: tried, uses: flaky, retry: {max_retries: 3, delay: 1s}}
  - {id: tolerated, uses: even, with: {x: 1}, on_error: continue, on_failure: [{id: told, output: 1}]}
"""

FAILING = """
steps: [{id: first, output: 1}, {id: bad, uses: even, with: {x: 1}}, {id: last, output: 1}]
finally: [{id: tidy, output: 1}]
"""


def even(x: int) -> int:
    if x % 2:
        raise Fail(f"{x} is odd")
    return x


def ran(harness: Harness, text: str, **variables: Any) -> tuple[Task, Plan]:
    """A task that has ended, and its plan."""
    calls: list[int] = []

    def flaky() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise Fail("not yet")

    use("even", even)
    use("flaky", flaky)
    task = harness.run(text, **variables)
    return task, compile_definition(harness.store.definition(task.definition))


def followed(harness: Harness, task: Task) -> Mapping[str, Seen]:
    """What the events of a task alone tell."""
    one = Followed(harness.store, task.task_id)
    one.update()
    return one.steps


@pytest.fixture(params=["events", "records"])
def tree_of(request: pytest.FixtureRequest, harness: Harness) -> object:
    """The tree as it is drawn while a task runs, and as it is shown when it has ended."""

    def tree(task: Task, plan: Plan) -> dict[str, Line]:
        by_events = request.param == "events"
        seen = followed(harness, task) if by_events else of_records(harness.store, task.task_id)
        return {line.path: line for line in lines(plan, seen, harness.store.now())}

    return tree


def test_the_tree_of_every_kind_of_step(harness: Harness, tree_of: object) -> None:
    assert callable(tree_of)
    task, plan = ran(harness, MANY, numbers=list(range(100)))
    tree: dict[str, Line] = tree_of(task, plan)
    assert {path: line.status for path, line in tree.items()} == {
        "each": "completed",
        "again": "completed",
        "choice": "completed",
        "choice/taken": "completed",
        "skipped": "skipped",
        "tried": "completed",
        "tolerated": "failed",
        "tolerated/on_failure": "",
        "tolerated/on_failure/told": "completed",
    }
    assert tree["each"].note.startswith("50/100 done, 50 failed")
    assert tree["again"].note == "round 3"
    assert tree["tried"].attempts == "3/4"
    assert tree["tolerated"].note == "1 is odd"
    assert [tree[path].depth for path in ("choice", "choice/taken", "tolerated/on_failure/told")] == [0, 1, 2]


def test_the_tree_of_a_task_that_failed(harness: Harness, tree_of: object) -> None:
    assert callable(tree_of)
    tree: dict[str, Line] = tree_of(*ran(harness, FAILING))
    assert {path: line.status for path, line in tree.items()} == {
        "first": "completed",
        "bad": "failed",
        "last": "pending",
        "finally": "",
        "finally/tidy": "completed",
    }


def test_following_costs_no_look_at_what_is_known(harness: Harness) -> None:
    task, _ = ran(harness, MANY, numbers=list(range(3)))
    one, told = Followed(harness.store, task.task_id), list[Event]()
    one.update(told.append)
    assert sorted(event.id for event in told) == list(range(1, len(told) + 1))
    one.update(told.append)
    assert len(told) == max(event.id for event in told)


def test_what_happened_before_is_not_told_again(harness: Harness) -> None:
    task, _ = ran(harness, FAILING)
    one = Followed(harness.store, task.task_id)
    one.skip()
    told: list[Event] = []
    one.update(told.append)
    assert told == []
    assert one.steps["bad"].status == "failed"


def test_items_and_what_is_in_them_are_one_line() -> None:
    assert [shown_path(path) for path in ("a/b", "a[3]", "a[3]/b[1]/c")] == ["a/b", "a", "a"]


def test_the_parts_of_a_step_are_counted() -> None:
    assert parts(Seen()) == ""
    assert parts(Seen(parts=Counter(completed=2, running=1))) == "round 3"
    running = Seen(status="running", parts=Counter(completed=7, failed=1, running=2), total=10)
    assert parts(running) == "7/10 done, 1 failed, 2 running"


def test_a_tree_that_fits_is_shown_whole() -> None:
    tree = [Line(str(number), 0, str(number), "pending") for number in range(5)]
    assert cropped(tree, 5) == tree


def test_of_a_long_tree_what_runs_and_what_is_near_is_shown() -> None:
    statuses = ["completed"] * 400 + ["running"] + ["completed"] * 99 + ["running"] * 2 + ["pending"] * 500
    tree = [Line(str(number), 0, str(number), status) for number, status in enumerate(statuses)]
    shown = cropped(tree, 20)
    assert len(shown) == 20
    assert [line.path for line in shown if line.status == "running"] == ["400", "500", "501"]
    assert [line.path for line in shown[:-1]] == sorted((line.path for line in shown[:-1]), key=int)
    assert shown[-1].label == "… and 492 pending, 491 completed"


def test_plain_lines_of_many_items_are_few(harness: Harness) -> None:
    task, _ = ran(harness, MANY, numbers=list(range(1, 2000, 2)))
    written: list[str] = []
    with PlainLines(written.append, Followed(harness.store, task.task_id)).shown():
        pass
    assert sum(line.startswith("each") for line in written) < 30
    assert "each: more lines of its items are not shown here" in written
    assert [line for line in written if line.startswith("tried")][:2] == [
        "tried: started",
        "tried: attempt 1 failed: not yet",
    ]
    assert "skipped: skipped" in written


def tree_with(**statuses: str) -> list[Line]:
    return [Line(path.replace("__", "/"), 0, path, status) for path, status in statuses.items()]


def test_progress_stands_at_the_step_that_alone_ran_when_it_came() -> None:
    reported, progress = Reported(), {"progress_percent": 10}
    title, tree = reported.put(progress, tree_with(group="running", group__a="running", b="pending"))
    assert (title, [line.note for line in tree]) == ("", ["", "10%", ""])
    title, tree = reported.put(progress, tree_with(group="running", group__a="running", b="running"))
    assert (title, [line.note for line in tree]) == ("", ["", "10%", ""]), "it still is of the same step"
    title, tree = reported.put({"progress_percent": 20}, tree_with(a="running", b="running"))
    assert (title, [line.note for line in tree]) == ("20%", ["", ""])


def test_progress_of_a_step_that_has_ended_is_not_shown_at_another() -> None:
    reported, progress = Reported(), {"stage": "loading"}
    reported.put(progress, tree_with(a="running", b="pending"))
    title, tree = reported.put(progress, tree_with(a="completed", b="running"))
    assert (title, [line.note for line in tree]) == ("loading", ["", ""])


def test_of_cases_that_share_names_the_one_that_ran_is_shown(harness: Harness) -> None:
    cases = """
    steps:
      - id: choice
        switch:
          - {if: "false", steps: [{output: 1}, {output: 2}]}
          - {steps: [{id: taken, output: 3}, {output: 4}]}
    """
    task, plan = ran(harness, cases)
    seen = of_records(harness.store, task.task_id)
    assert [line.path for line in lines(plan, seen, 0)] == ["choice", "choice/taken", "choice/output-2"]
