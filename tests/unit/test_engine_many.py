"""`foreach` and `until`."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.unit.engine_harness import PATIENCE, Harness, use

from stepwell.errors import Fail
from stepwell.task import Status


def test_items_run_in_order_one_at_a_time_unless_told(harness: Harness, ran: list[Any]) -> None:
    task = harness.run(
        """
        steps:
          - {id: each, foreach: {in: [a, b, c], as: letter}, uses: note, with: {what: "${{ letter }}${{ index }}"}}
        """
    )
    assert ran == ["a0", "b1", "c2"]
    assert harness.output(task, "each") == ["a0", "b1", "c2"]
    assert list(harness.steps(task)) == ["each", "each[0]", "each[1]", "each[2]"]


def test_outputs_are_in_item_order_whoever_ends_first(harness: Harness) -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(PATIENCE)
        later.set()
        return item * 10

    use("work", work)
    task = harness.run(
        "steps: [{id: e, foreach: {in: [0, 1], max_parallel: 2}, uses: work, with: {item: '${{ item }}'}}]"
    )
    assert harness.output(task, "e") == [0, 10]


def test_max_parallel_bounds_items(harness: Harness) -> None:
    lock, now, most = threading.Lock(), 0, 0
    pair = threading.Barrier(2)

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait(PATIENCE)
        with lock:
            now -= 1

    use("work", work)
    harness.run("steps: [{foreach: {in: 'range(10)', max_parallel: 2}, uses: work}]")
    assert most == 2


def test_an_empty_list_completes_with_an_empty_list(harness: Harness) -> None:
    assert harness.output(harness.run("steps: [{id: e, foreach: [], output: 1}]"), "e") == []


def test_groups_run_for_each_item(harness: Harness) -> None:
    task = harness.run(
        """
        steps:
          - id: each
            foreach: "range(2)"
            steps: [{id: a, output: "${{ item + 1 }}"}, {id: b, output: "${{ steps.a.output * 10 }}"}]
        """
    )
    assert harness.output(task, "each") == [10, 20]
    assert "each[1]/b" in harness.steps(task)


def _odd(item: int) -> int:
    if item % 2:
        raise Fail(f"odd {item}")
    return item


@pytest.mark.parametrize(
    ("extra", "status", "output"),
    [
        ("", "failed", None),
        (", on_item_error: continue", "completed", [0, None, 2, None, 4]),
        (", max_failed: 2", "completed", [0, None, 2, None, 4]),
        (", max_failed: 1", "failed", None),
        (", max_failed: 40%", "completed", [0, None, 2, None, 4]),
        (", max_failed: 39%", "failed", None),
        (", on_item_error: continue, max_failed: 1", "failed", None),
    ],
)
def test_how_many_items_may_fail(harness: Harness, extra: str, status: str, output: Any) -> None:
    use("odd", _odd)
    task = harness.run(
        f"steps: [{{id: e, foreach: {{in: 'range(5)'{extra}}}, uses: odd, with: {{item: '${{{{ item }}}}'}}}}]"
    )
    assert task.status == status
    record = harness.steps(task)["e"]
    if output is None:
        assert task.error is not None
        assert task.error.message.startswith("odd")
    else:
        assert harness.output(task, "e") == output
    failed = [path for path, state in harness.statuses(task).items() if state == "failed" and path != "e"]
    assert [f"e[{failure['index']}]" for failure in record.failures] == failed
    assert record.failures[0]["error"]["message"] == "odd 1"


def test_a_failed_item_starts_no_further_ones(harness: Harness) -> None:
    use("odd", _odd)
    task = harness.run("steps: [{id: e, foreach: 'range(5)', uses: odd, with: {item: '${{ item }}'}}]")
    assert harness.statuses(task) == {"e": "failed", "e[0]": "completed", "e[1]": "failed"}


def test_items_retry_each_for_itself(harness: Harness) -> None:
    calls: list[int] = []

    def work(item: int) -> int:
        calls.append(item)
        if calls.count(item) < 2:
            raise Fail("again")
        return item

    use("work", work)
    task = harness.run("steps: [{id: e, foreach: [7, 8], retry: 1, uses: work, with: {item: '${{ item }}'}}]")
    assert harness.output(task, "e") == [7, 8]
    assert calls == [7, 7, 8, 8]


def test_stop_after_completes_early(harness: Harness, ran: list[Any]) -> None:
    task = harness.run(
        "steps: [{id: e, foreach: {in: 'range(9)', stop_after: 2}, uses: note, with: {what: '${{ item }}'}}]"
    )
    assert task.status is Status.COMPLETED
    assert ran == [0, 1]
    assert harness.output(task, "e")[:3] == [0, 1, None]


@pytest.mark.parametrize("items", ["5", "{a: 1}", "variables.word"])
def test_what_is_no_list_is_refused(harness: Harness, items: str) -> None:
    task = harness.run(f"steps: [{{id: e, foreach: {{in: '{items}'}}, output: 1}}]", word="abc")
    assert task.error is not None
    assert "foreach" in task.error.message


def test_a_thousand_items_are_a_thousand_records(harness: Harness) -> None:
    task = harness.run("steps: [{id: e, foreach: {in: 'range(1000)', max_parallel: 16}, output: '${{ item }}'}]")
    assert harness.output(task, "e") == list(range(1000))
    assert len(harness.steps(task)) == 1001


def test_until_repeats_and_keeps_the_last_round(harness: Harness) -> None:
    states = iter(["queued", "running", "done"])
    use("poll", lambda: {"state": next(states)})
    task = harness.run(
        """
        steps:
          - {id: p, uses: poll, output: "${{ output.state }}", until: output == 'done', every: 10s}
        """
    )
    assert harness.output(task, "p") == "done"
    steps = harness.steps(task)
    assert list(steps) == ["p", "p[0]", "p[1]", "p[2]"]
    assert (steps["p[1]"].started_at or 0) - (steps["p[0]"].completed_at or 0) >= 10


def test_until_of_a_group_sees_its_inner_steps_and_the_index(harness: Harness) -> None:
    task = harness.run(
        """
        steps:
          - id: p
            steps: [{id: a, output: "${{ index * 2 }}"}]
            until: steps.a.output >= 4 and index == 2
        """
    )
    assert harness.output(task, "p") == 4


def test_max_times_ends_it(harness: Harness) -> None:
    task = harness.run("steps: [{id: p, output: '${{ index }}', until: false, max_times: 3}]")
    assert task.error is not None
    assert (task.error.code, task.error.step) == ("max_times", "p")
    assert len(harness.steps(task)) == 4


def test_retries_count_for_each_round(harness: Harness) -> None:
    calls = 0

    def flaky() -> int:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise Fail("odd call")
        return calls

    use("flaky", flaky)
    task = harness.run("steps: [{id: p, uses: flaky, retry: 1, until: output >= 6}]")
    assert (task.status, calls) == (Status.COMPLETED, 6)
