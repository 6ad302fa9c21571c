"""Other workflows as steps of a task: what they see, how they end, and that a crash changes nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.engine_cluster import Cluster
from tests.unit.engine_harness import Harness, use

from stepwell.errors import Fail
from stepwell.task import Status, Task


class Acts:
    """An action that notes what it is called with, and fails for `bad` ones."""

    def __init__(self, *bad: str, retryable: bool = False) -> None:
        self.bad, self.retryable, self.did = set(bad), retryable, list[str]()
        use("act", self)

    def __call__(self, what: str) -> str:
        self.did.append(what)
        if what in self.bad:
            raise Fail(f"{what} is bad", retryable=self.retryable)
        return what


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(Harness(tmp_path, suspend_after=0))


INNER = """
id: inner
variables: {what: {type: string, required: true}, times: {type: integer, default: 2}}
steps:
  - {id: first, uses: act, with: {what: "${{ variables.what }}"}}
  - id: again
    foreach: "${{ range(variables.times) }}"
    uses: act
    with: {what: "${{ steps.first.output }}${{ item }}"}
on_failure: [{uses: act, with: {what: "failed ${{ error.step }} ${{ variables.what }}"}}]
on_cancel: [{uses: act, with: {what: cancelled}}]
finally: [{id: end, uses: act, with: {what: "end ${{ steps.first.status }}"}}]
outputs: {all: "${{ steps.again.output }}", in: "${{ task.workflow }}", day: "${{ trigger.kind | default('none') }}"}
"""

OUTER = """
variables: {mine: {type: string, default: outer}}
steps:
  - {id: first, uses: act, with: {what: outer}}
  - id: call
    workflow: inner
    with: {what: "${{ variables.mine }} ${{ steps.first.output }}"}
    on_failure: [{uses: act, with: {what: "call failed"}}]
    OPTIONS
  - {id: last, output: "${{ steps.call.output }}"}
"""


def outer(options: str = "name: call") -> str:
    return OUTER.replace("OPTIONS", options)


def test_it_sees_its_own_variables_and_steps_and_gives_its_outputs(cluster: Cluster) -> None:
    acts = Acts()
    task = cluster.run(outer(), INNER, mine="m")
    assert task.status is Status.COMPLETED, task.error
    assert acts.did == ["outer", "m outer", "m outer0", "m outer1", "end completed"]
    assert cluster.harness.output(task, "last") == {"all": ["m outer0", "m outer1"], "in": "test", "day": "none"}
    assert list(cluster.harness.statuses(task)) == [
        "first",
        "call",
        "call/first",
        "call/again",
        "call/again[0]",
        "call/again[1]",
        "call/workflow.finally/end",
        "last",
    ]


@pytest.mark.parametrize("name", ["variables.mine", "steps.last.output", "item", "steps.call.output"])
def test_it_sees_nothing_of_what_is_around_it(cluster: Cluster, name: str) -> None:
    Acts()
    inner = f"id: inner\nsteps: [{{id: peek, output: '${{{{ {name} }}}}'}}]"
    steps = "steps:\n  - {id: last, output: 1}\n  - {id: call, foreach: [1], workflow: inner}"
    task = cluster.run(f"variables: {{mine: {{type: string, default: x}}}}\n{steps}", inner)
    assert task.error is not None
    assert task.error.code == "expression"


def test_its_failure_is_told_after_what_it_says_of_its_end(cluster: Cluster) -> None:
    acts = Acts("outer outer1")
    task = cluster.run(outer(), INNER)
    assert (task.status, task.error and task.error.path) == (Status.FAILED, "call/again[1]")
    told = ["failed again outer outer", "end completed", "call failed"]
    assert acts.did == ["outer", "outer outer", "outer outer0", "outer outer1", *told]


def test_each_try_of_it_goes_on_from_what_failed_and_ends_anew(cluster: Cluster) -> None:
    acts = Acts("outer outer1", retryable=True)
    cluster.run(outer("retry: {max_retries: 1, delay: 1m}"), INNER)
    told = ["outer outer1", "failed again outer outer", "end completed"]
    assert acts.did == ["outer", "outer outer", "outer outer0", *told, *told, "call failed"]


def test_a_retry_of_the_task_goes_on_inside_and_ends_it_anew(cluster: Cluster) -> None:
    acts = Acts("outer outer1", retryable=True)
    cluster.run(outer(), INNER, retries=1)
    told = ["outer outer1", "failed again outer outer", "end completed", "call failed"]
    assert acts.did == ["outer", "outer outer", "outer outer0", *told, *told]


def test_a_stop_ends_only_the_workflow_it_stands_in(cluster: Cluster) -> None:
    acts = Acts()
    stops = (
        "id: inner\nvariables: {what: {type: string}}\nsteps: [{uses: stop}, {id: never, uses: act, with: {what: no}}]"
    )
    task = cluster.run(outer(), f"{stops}\noutputs: {{never: '${{{{ steps.never.status }}}}'}}")
    assert task.status is Status.COMPLETED, task.error
    assert cluster.harness.output(task, "last") == {"never": "pending"}
    assert acts.did == ["outer"]


def test_a_stop_as_cancelled_fails_the_step(cluster: Cluster) -> None:
    acts = Acts()
    stop = "steps: [{uses: stop, with: {status: cancelled, message: no need}}]"
    stops = f"id: inner\nvariables: {{what: {{type: string}}}}\n{stop}"
    task = cluster.run(outer(), f"{stops}\non_cancel: [{{uses: act, with: {{what: undone}}}}]")
    assert task.error is not None
    assert (task.error.code, task.error.message, task.error.path) == ("cancelled", "it was stopped: no need", "call")
    assert acts.did == ["outer", "undone", "call failed"]


WAITS = """
id: inner
variables: {what: {type: string}}
LIMIT
steps: [{id: hold, wait: 1h}, {id: never, uses: act, with: {what: no}}]
on_cancel: [{id: sorry, uses: act, with: {what: cancelled}}]
finally: [{id: end, uses: act, with: {what: end}}]
"""


def waits(limit: str = "name: inner") -> str:
    return WAITS.replace("LIMIT", limit)


def test_a_cancel_ends_it_as_it_says(cluster: Cluster) -> None:
    acts = Acts()
    task = cluster.create(outer(), waits())
    cluster.finish(task, until=lambda task: task.status is Status.WAITING)
    cluster.harness.store.cancel(task.task_id)
    ended = cluster.finish(task)
    assert ended.status is Status.CANCELLED
    assert acts.did == ["outer", "cancelled", "end"]
    assert cluster.harness.statuses(ended)["call"] == "cancelled"


def test_losing_a_race_ends_it_as_it_says(cluster: Cluster) -> None:
    acts = Acts()
    race = "{id: r, race: [{id: call, workflow: inner}, {id: soon, wait: 1m}]}"
    task = cluster.run(f"steps: [{race}, {{uses: act, with: {{what: 'on'}}}}]", waits())
    assert task.status is Status.COMPLETED, task.error
    assert acts.did == ["cancelled", "end", "on"]


@pytest.mark.parametrize(("inner", "step"), [("timeout: 10s", "name: x"), ("name: inner", "timeout: 10s")])
def test_its_time_limit_ends_it(cluster: Cluster, inner: str, step: str) -> None:
    Acts()
    slow = waits(inner).replace("wait: 1h", "uses: sleep, with: {seconds: 60}")
    task = cluster.run(outer(step), slow)
    assert task.error is not None
    assert task.error.code == "timeout"


@pytest.mark.parametrize("bad", [(), ("outer outer1",)], ids=["completes", "fails"])
def test_a_crash_at_any_write_changes_nothing(tmp_path: Path, bad: tuple[str, ...]) -> None:
    def ran(crash_at: int | None) -> tuple[Cluster, Task, list[str]]:
        cluster, acts = Cluster(Harness(tmp_path, suspend_after=0)), Acts(*bad)
        cluster.harness.store.crash_at = crash_at
        return cluster, cluster.run(outer("retry: {max_retries: 1, delay: 1m}"), INNER), acts.did

    smooth, expected, did = ran(None)
    for write in range(1, smooth.harness.store.writes + 1):
        cluster, task, acted = ran(write)
        assert (task.status, cluster.harness.statuses(task)) == (expected.status, smooth.harness.statuses(expected))
        assert list(dict.fromkeys(acted)) == list(dict.fromkeys(did))
        assert len(acted) <= len(did) + 1
