"""Steps that run as child tasks: parts, workflows and fan-outs, through crashes, failures, cancels and retries."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from tests.unit.engine_cluster import Cluster
from tests.unit.engine_harness import PATIENCE, Crash, CrashingStore, Harness, use

from stepwell.errors import Fail
from stepwell.lifecycle import to_reset
from stepwell.ports import Revision, TaskFilter
from stepwell.settings import Settings
from stepwell.stores.memory import MemoryStore
from stepwell.task import Crew, Status, Task
from stepwell.wiring.engines import make_engine


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(Harness(tmp_path, suspend_after=0))


FAN_OUT = """
variables: {names: {type: list}}
steps:
  - {id: before, output: {greeting: hello}}
  - id: each
    foreach: {in: "${{ variables.names }}", as: name, max_parallel: 50}
    queue: other
    uses: greet
    with: {text: "${{ steps.before.output.greeting }} ${{ name }} ${{ index }}"}
  - {id: after, output: "${{ steps.each.output }}"}
outputs: {all: "${{ steps.after.output }}"}
"""


def test_a_thousand_items_are_done_in_order_and_the_parent_runs_twice(cluster: Cluster) -> None:
    use("greet", lambda text: text.upper())
    names = [f"n{number}" for number in range(1000)]
    task = cluster.run(FAN_OUT, names=names)
    assert task.status is Status.COMPLETED, task.error
    assert cluster.harness.outputs(task)["all"] == [f"HELLO N{n} {n}" for n in range(1000)]
    assert cluster.runs[task.task_id] == 2
    children = cluster.children(task, "each")
    assert [child.index for child in children] == list(range(1000))
    assert {child.queue for child in children} == {"other"}
    assert all(cluster.runs[child.task_id] == 1 for child in children)
    assert cluster.harness.store.counts()["other"]["completed"] == 1000


SAME: dict[str, str] = {
    "a leaf": """
      - id: one
        queue: q
        uses: say
        with: {what: "${{ steps.first.output }} ${{ variables.day }}"}
        output: "${{ output }}!"
      """,
    "items": """
      - id: one
        queue: q
        foreach: {in: [a, b, c], as: letter, max_parallel: 2}
        uses: say
        with: {what: "${{ letter }}${{ index }}"}
      """,
    "items that are groups": """
      - id: one
        queue: q
        foreach: [a, b]
        steps:
          - {id: inner, uses: say, with: {what: "${{ item }} ${{ steps.first.output }}"}}
          - {id: last, output: {inner: "${{ steps.inner.output }}", index: "${{ index }}"}}
      """,
    "a step inside of items": """
      - id: one
        foreach: {in: [a, b], max_parallel: 2}
        steps:
          - {id: inner, uses: say, with: {what: "${{ item }}"}}
          - {id: deep, queue: q, uses: say, with: {what: "${{ steps.inner.output }}${{ index }}"}}
      """,
    "children of children": """
      - id: one
        queue: q
        foreach: [a, b]
        steps:
          - {id: inner, uses: say, with: {what: "${{ item }}"}}
          - id: deep
            queue: q
            foreach: {in: [1, 2], as: number}
            uses: say
            with: {what: "${{ steps.first.output }} ${{ steps.inner.output }} ${{ item }} ${{ number }}"}
      """,
    "rounds": """
      - {id: one, queue: q, until: index == 2, uses: say, with: {what: "round ${{ index }}"}}
      """,
    "a step of the second case": """
      - id: one
        switch:
          - {if: "false", steps: [{uses: say, with: {what: wrong}}]}
          - steps: [{queue: q, uses: say, with: {what: right}}]
      """,
    "a parallel group": """
      - {id: one, queue: q, parallel: [{id: a, uses: say, with: {what: x}}, {id: b, uses: say, with: {what: y}}]}
      """,
    "a race": """
      - id: one
        queue: q
        race: [{id: a, uses: say, with: {what: x}}, {id: b, if: "false", uses: say, with: {what: y}}]
      """,
    "another workflow": """
      - id: one
        queue: q
        workflow: other
        with: {what: "${{ steps.first.output }}"}
        output: "${{ output.said }} outside"
      """,
    "another workflow for items": """
      - id: one
        queue: q
        foreach: [a, b]
        workflow: other
        with: {what: "${{ item }}"}
        output: "${{ output.said }}${{ index }}"
      """,
    "a step of another workflow": """
      - {id: one, workflow: spread, with: {what: "${{ steps.first.output }}"}}
      """,
    "items of which some may fail": """
      - {id: one, queue: q, foreach: {in: [a, bad, c], on_item_error: continue}, uses: say, with: {what: "${{ item }}"}}
      - {id: told, output: "${{ steps.one.failures | map(attribute='index') | list }}"}
      """,
    "a failure that is accepted": """
      - id: one
        queue: q
        uses: say
        with: {what: bad}
        on_error: continue
        on_failure: [{id: react, queue: q, uses: say, with: {what: "${{ error.code }} in ${{ error.step }}"}}]
      - {id: told, output: "${{ steps.one.error.message }}"}
      """,
    "no items": """
      - {id: one, queue: q, foreach: [], uses: say, with: {what: "${{ item }}"}}
      """,
}

OTHER = """
id: other
variables: {what: {type: string, required: true}, more: {type: string, default: "!"}}
steps:
  - {id: first, uses: say, with: {what: "inner ${{ variables.what }}${{ variables.more }}"}}
outputs: {said: "${{ steps.first.output }}"}
"""

SPREAD = """
id: spread
variables: {what: {type: string, required: true}}
steps:
  - {id: first, output: "not the outer one"}
  - id: inner
    queue: q
    foreach: [1, 2]
    uses: say
    with: {what: "${{ variables.what }}, ${{ steps.first.output }}, ${{ item }}"}
outputs: {said: "${{ steps.inner.output }}"}
"""


def say(what: str) -> str:
    if what == "bad":
        raise Fail("it is bad", code="bad", retryable=False)
    return what


def written(steps: str) -> str:
    return f"""
variables: {{day: {{type: string}}}}
steps:
      - {{id: first, uses: say, with: {{what: first}}}}{steps}"""


def seen(cluster: Cluster, task: Task, *ids: str) -> Any:
    records = cluster.harness.steps(task)
    told = {}
    for step_id in ids:
        if step_id in records:
            record = records[step_id]
            failures = [{**failure, "error": {**failure["error"], "attempt": None}} for failure in record.failures]
            output = None if record.output is None else cluster.harness.output(task, step_id)
            told[step_id] = (record.status, output, record.error and replace(record.error, attempt=None), failures)
    return task.status, told


@pytest.mark.parametrize("steps", SAME.values(), ids=SAME.keys())
def test_a_step_gives_the_same_in_a_child_task_as_in_its_own(cluster: Cluster, tmp_path: Path, steps: str) -> None:
    use("say", say)
    children = cluster.run(written(steps), OTHER, SPREAD, day="today")
    alone = Cluster(Harness(tmp_path, suspend_after=0))
    without = [
        text.replace("queue: q, ", "").replace("queue: q\n", "name: x\n") for text in (written(steps), OTHER, SPREAD)
    ]
    inside = alone.run(*without, day="today")
    assert children.status is Status.COMPLETED, children.error
    assert seen(cluster, children, "one", "told") == seen(alone, inside, "one", "told")
    assert not alone.children(inside)


@pytest.mark.parametrize("steps", SAME.values(), ids=SAME.keys())
def test_a_crash_at_any_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str) -> None:
    monkeypatch.setattr("stepwell.engine.crews.BATCH", 1)
    use("say", say)
    smooth = Cluster(Harness(tmp_path, suspend_after=0))
    expected = seen(smooth, smooth.run(written(steps), OTHER, SPREAD, day="today"), "one", "told")
    crashes, writes = 0, smooth.harness.store.writes
    for write in range(1, writes + 1):
        cluster = Cluster(Harness(tmp_path, suspend_after=0))
        cluster.harness.store.crash_at = write
        task = cluster.run(written(steps), OTHER, SPREAD, day="today")
        crashes += cluster.crashes
        assert seen(cluster, task, "one", "told") == expected, f"at write {write}"
    assert crashes >= writes - 2, "steps beside each other may be written at once"


def retry(cluster: Cluster, task: Task, *paths: str) -> Task:
    """Retry by hand from these steps."""
    records = list(cluster.harness.steps(task).values())
    cluster.harness.store.retry(task.task_id, to_reset(records, paths or None), task.attempt)
    return cluster.finish_all(task)


class Flaky:
    """An action that fails for some inputs until it is mended; `calls` are what it was called with."""

    def __init__(self, *bad: str, retryable: bool = False) -> None:
        self.bad, self.retryable, self.calls = set(bad), retryable, list[str]()
        use("flaky", self)

    def __call__(self, what: str) -> str:
        self.calls.append(what)
        if what in self.bad:
            raise Fail(f"{what} is bad", retryable=self.retryable)
        return what


EACH = """
      - id: one
        queue: q
        foreach: {in: [a, b, c, d, e], OPTIONS}
        uses: flaky
        with: {what: "${{ item }}"}
"""


def each(**options: Any) -> str:
    told = ", ".join(f"{key}: {value}" for key, value in options.items())
    return written(EACH.replace(", OPTIONS", f", {told}" if told else ""))


def test_the_first_item_that_fails_ends_the_step_and_a_retry_by_hand_runs_what_is_left(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky("c")
    task = cluster.finish_all(cluster.create(each()))
    assert (task.status, task.error and (task.error.path, task.error.message)) == (
        Status.FAILED,
        ("one[2]", "c is bad"),
    )
    assert flaky.calls == ["a", "b", "c"]
    assert [child.status for child in cluster.children(task)] == [
        "completed",
        "completed",
        "failed",
        "cancelled",
        "cancelled",
    ]
    assert cluster.harness.statuses(task) == {
        "first": "completed",
        "one": "failed",
        "one[0]": "completed",
        "one[1]": "completed",
        "one[2]": "failed",
    }
    flaky.bad.clear()
    again = retry(cluster, task)
    assert again.status is Status.COMPLETED, again.error
    assert flaky.calls == ["a", "b", "c", "c", "d", "e"]
    assert cluster.harness.output(again, "one") == ["a", "b", "c", "d", "e"]
    assert [child.attempt for child in cluster.children(task)] == [1, 1, 2, 2, 2]


def test_a_retry_of_the_task_runs_only_what_failed(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky("b", "d", retryable=True)
    cluster.run(each(max_failed=1, max_parallel=5), retries=2)
    assert sorted(flaky.calls) == ["a", "b", "b", "b", "c", "d", "d", "d", "e"]


@pytest.mark.parametrize(
    ("options", "status", "failed", "completed"),
    [
        ({"max_failed": 2, "max_parallel": 5}, Status.COMPLETED, 2, 3),
        ({"max_failed": "40%", "max_parallel": 5}, Status.COMPLETED, 2, 3),
        ({"max_failed": 1, "max_parallel": 5}, Status.FAILED, 2, 3),
        ({"on_item_error": "continue"}, Status.COMPLETED, 2, 3),
        ({"max_failed": 1}, Status.FAILED, 2, 2),
        ({"stop_after": 2}, Status.COMPLETED, 1, 2),
    ],
)
def test_how_many_may_fail_and_are_wanted(
    cluster: Cluster, options: dict[str, Any], status: Status, failed: int, completed: int
) -> None:
    use("say", say)
    Flaky("b", "d")
    if "stop_after" in options:
        options = {**options, "on_item_error": "continue"}
    task = cluster.finish_all(cluster.create(each(**options)))
    counts = [child.status for child in cluster.children(task)]
    assert (task.status, counts.count(Status.FAILED), counts.count(Status.COMPLETED)) == (status, failed, completed)
    failures = [failure["index"] for failure in cluster.harness.steps(task)["one"].failures]
    assert failures == [1, 3][:failed]
    assert all(child.ended for child in cluster.children(task))


def test_what_has_completed_is_run_again_from_a_step_that_is_named(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky()
    task = cluster.finish_all(cluster.create(each(max_parallel=5)))
    again = retry(cluster, task, "one")
    assert again.status is Status.COMPLETED
    assert sorted(flaky.calls) == sorted("abcde" * 2)
    assert cluster.harness.output(again, "one") == ["a", "b", "c", "d", "e"]
    assert len(cluster.children(task)) == 10


def test_a_workflow_is_tried_again_from_outside(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky("x", retryable=True)
    inner = "id: inner\nsteps: [{id: ok, uses: say, with: {what: fine}}, {id: bad, uses: flaky, with: {what: x}}]"
    task = cluster.run(
        written("\n      - {id: one, queue: q, workflow: inner, retry: {max_retries: 2, delay: 30s}}"), inner
    )
    assert task.status is Status.FAILED
    assert flaky.calls == ["x", "x", "x"]
    [child] = cluster.children(task)
    assert (child.attempt, child.trigger["path"], child.labels) == (3, "one", {"team": "blue"})
    record = cluster.harness.steps(task)["one"]
    assert (record.attempts, len(record.history)) == (3, 3)
    assert task.error is not None
    assert (task.error.path, task.error.step) == ("one/bad", "bad")


def test_items_that_are_workflows_are_tried_again_each(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky("b", retryable=True)
    steps = "steps: [{id: bad, uses: flaky, with: {what: '${{ variables.what }}'}}]"
    inner = f"id: inner\nvariables: {{what: {{type: string}}}}\n{steps}"
    step = "\n      - {id: one, queue: q, foreach: [a, b, c], workflow: inner, with: {what: '${{ item }}'}, retry: 2}"
    task = cluster.run(written(step), inner)
    assert task.status is Status.FAILED
    assert flaky.calls == ["a", "b", "c", "b", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [("{what: 5}", "with: variables.what: must be a string, not 5"), ("{}", "with: variables.what: is required")],
)
@pytest.mark.parametrize("queue", ["queue: q, ", ""], ids=["child", "inside"])
def test_variables_that_do_not_fit_fail_the_step(cluster: Cluster, queue: str, given: str, message: str) -> None:
    use("say", say)
    task = cluster.run(written(f"\n      - {{id: one, {queue}workflow: other, with: {given}}}"), OTHER)
    assert task.error is not None
    assert (task.error.code, task.error.message, task.error.path) == ("invalid", message, "one")
    assert not cluster.children(task)


@pytest.mark.parametrize("queue", ["queue: q, ", ""], ids=["child", "inside"])
def test_workflows_run_each_other_only_so_deep(cluster: Cluster, queue: str) -> None:
    use("say", say)
    loop = f"id: loop\nsteps: [{{id: again, {queue}workflow: loop}}]"
    task = cluster.finish_all(cluster.create(loop, loop))
    assert task.error is not None
    assert task.error.code == "recursion"
    assert task.error.message == f"workflows run workflows more than 16 deep: {' > '.join(['loop'] * 18)}"


ASIDE = """
      - parallel:
          - id: one
            queue: q
            foreach: {in: [a, b, c, d], max_parallel: 2}
            steps:
              - {id: hold, wait: 1h}
              - {id: did, uses: flaky, with: {what: "${{ item }}"}}
          - {id: beside, BESIDE}
finally: [{id: end, uses: flaky, with: {what: end}}]
"""


def statuses(cluster: Cluster, task: Task) -> list[str]:
    return [str(child.status) for child in cluster.children(task)]


@pytest.mark.parametrize("moment", ["waiting", "queued", "before"])
def test_a_cancel_reaches_the_children(cluster: Cluster, moment: str) -> None:
    use("say", say)
    flaky = Flaky()
    task = cluster.create(
        written(ASIDE.replace("- {id: beside, BESIDE}", "- {id: beside, uses: say, with: {what: x}}"))
    )
    if moment != "before":
        cluster.run_once(task.task_id)
    if moment == "waiting":
        while cluster.work():
            continue
        assert statuses(cluster, task) == ["waiting", "waiting", "pending", "pending"]
    cluster.harness.store.cancel(task.task_id)
    ended = cluster.finish_all(task)
    assert ended.status is Status.CANCELLED
    assert set(statuses(cluster, task)) <= {"cancelled"}
    assert flaky.calls == (["end"] if moment != "before" else [])
    assert cluster.runs[task.task_id] <= 4, "a run that waits for its children does not spin"
    assert not cluster.harness.store.queued(0)


def test_a_failure_beside_cancels_the_children(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky("beside")
    text = written(ASIDE.replace("BESIDE", "uses: flaky, with: {what: beside}"))
    task = cluster.finish_all(cluster.create(text))
    assert task.status is Status.FAILED
    assert set(statuses(cluster, task)) == {"cancelled"}
    assert flaky.calls == ["beside", "end"]
    assert cluster.harness.statuses(task)["parallel-2/one"] == "cancelled"


def test_the_children_of_a_racer_that_lost_are_cancelled(cluster: Cluster) -> None:
    use("say", say)
    Flaky()
    text = written(ASIDE.replace("- parallel:", "- race:").replace("BESIDE", "wait: 1m"))
    task = cluster.finish_all(cluster.create(text))
    assert task.status is Status.COMPLETED, task.error
    assert set(statuses(cluster, task)) == {"cancelled"}
    assert cluster.harness.steps(task)["race-2"].winner == "beside"


@pytest.mark.parametrize("ending", ["cancel", "failure"])
def test_a_crash_while_children_are_cancelled_changes_nothing(tmp_path: Path, ending: str) -> None:
    use("say", say)
    write = 0
    while True:
        write += 1
        cluster = Cluster(Harness(tmp_path, suspend_after=0))
        flaky = Flaky("beside")
        text = written(
            ASIDE.replace("BESIDE", "wait: 2h" if ending == "cancel" else "uses: flaky, with: {what: beside}")
        )
        task = cluster.create(text)
        cluster.run_once(task.task_id)
        while cluster.work():
            continue
        if ending == "cancel":
            cluster.harness.store.cancel(task.task_id)
        cluster.harness.store.writes, cluster.harness.store.crash_at = 0, write
        ended = cluster.finish_all(task)
        assert ended.status is (Status.CANCELLED if ending == "cancel" else Status.FAILED)
        assert set(statuses(cluster, task)) <= {"cancelled"}
        assert flaky.calls[-1] == "end"
        if not cluster.crashes:
            break
    assert write > (3 if ending == "cancel" else 0)


def test_a_child_that_somebody_cancels_has_failed(cluster: Cluster) -> None:
    use("say", say)
    Flaky()
    task = cluster.create(each(max_parallel=5))
    cluster.run_once(task.task_id)
    cluster.harness.store.cancel(cluster.children(task)[1].task_id)
    ended = cluster.finish_all(task)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error.code == "cancelled"


def test_files_of_children_are_their_parents(cluster: Cluster) -> None:
    steps = """
      - id: make
        queue: q
        foreach: {in: [1, 2], max_parallel: 2}
        steps:
          - {id: inner, run: 'echo $N > n$N.txt', env: {N: "${{ item }}"}, files: [n*.txt]}
      - {id: read, queue: q, run: cat n1.txt n2.txt, needs_files: [make], output: "${{ output.stdout }}"}
"""
    use("say", say)
    task = cluster.run(written(steps))
    assert task.status is Status.COMPLETED, task.error
    assert cluster.harness.output(task, "read") == "1\n2"
    assert set(cluster.harness.steps(task)["make[1]"].files) == {"n2.txt"}


def test_large_items_and_outputs_go_through(cluster: Cluster) -> None:
    use("say", lambda what: what * 2)
    steps = "\n      - {id: one, queue: q, foreach: '${{ variables.all }}', uses: say, with: {what: '${{ item }}'}}"
    text = written(steps).replace("variables: {", "variables: {all: {type: list}, ")
    task = cluster.run(text, all=["x" * 100_000, "y" * 100_000])
    assert task.status is Status.COMPLETED, task.error
    assert cluster.harness.output(task, "one") == ["x" * 200_000, "y" * 200_000]


def test_a_stop_in_a_part_ends_the_whole_task(cluster: Cluster) -> None:
    use("say", say)
    steps = """
      - {id: one, queue: q, uses: stop, with: {message: enough}}
      - {id: never, uses: say, with: {what: x}}"""
    task = cluster.run(written(steps))
    assert task.status is Status.COMPLETED
    assert cluster.harness.statuses(task) == {"first": "completed", "one": "cancelled"}


def test_nothing_of_a_drained_run_is_cancelled(cluster: Cluster) -> None:
    use("say", say)
    Flaky()
    task = cluster.create(written(ASIDE.replace("BESIDE", "wait: 1m")))
    cluster.run_once(task.task_id)
    cluster.harness.engine.begin_drain()
    handed_back = cluster.harness.once(cluster.children(task)[0].task_id)
    assert handed_back is not None
    assert handed_back.status is Status.QUEUED
    ended = cluster.finish_all(task)
    assert ended.status is Status.COMPLETED, ended.error
    assert statuses(cluster, task) == ["completed"] * 4


SECRET = "tok-5ecret-value"
KEY = "k" * 40


def run_for_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None, text: str, *others: str
) -> tuple[MemoryStore, Task]:
    """Run a task with engines as a server has them."""
    monkeypatch.setenv("TOKEN", SECRET)
    settings = Settings(secret_key=key, secrets=("TOKEN",), workflows_dir=tmp_path, files_url=str(tmp_path / "files"))
    cluster = Cluster(Harness(tmp_path))
    cluster.harness.store = CrashingStore(time.time, 10.0)
    task = cluster.create(text, *others)
    store, ended = cluster.harness.store, SimpleQueue[Task | None]()
    while not store.get(task.task_id).ended:
        for queued in store.queued(0):
            make_engine(settings, store).engine.run(queued.task_id, ended.put)
            ended.get(timeout=PATIENCE)
    return store, store.get(task.task_id)


GIVES_SECRET = """
secrets: [TOKEN]
steps:
  - id: one
    queue: q
    GIVEN
outputs: {same: "${{ steps.one.output }}"}
"""
TAKES_SECRET = f"""
id: inner
variables: {{token: {{type: secret}}}}
steps: [{{id: same, output: "${{{{ variables.token == '{SECRET}' }}}}"}}]
outputs: {{same: "${{{{ steps.same.output }}}}"}}
"""
TO_WORKFLOW = 'workflow: inner\n    with: {token: "${{ secrets.TOKEN }}"}\n    output: "${{ [output.same] }}"'
TO_ITEMS = f"""foreach: ["${{{{ secrets.TOKEN }}}}"]
    output: "${{{{ item == '{SECRET}' }}}}\""""


@pytest.mark.parametrize("given", [TO_WORKFLOW, TO_ITEMS], ids=["workflow", "items"])
def test_secrets_are_encrypted_on_their_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    store, task = run_for_real(tmp_path, monkeypatch, KEY, GIVES_SECRET.replace("GIVEN", given), TAKES_SECRET)
    assert (task.status, task.outputs) == (Status.COMPLETED, '{"same":[true]}'), task.error
    [child] = store.list(TaskFilter(parent=task.task_id)).items
    assert SECRET not in str(child.variables)


@pytest.mark.parametrize("given", [TO_WORKFLOW, TO_ITEMS], ids=["workflow", "items"])
def test_without_a_key_secrets_are_not_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    store, task = run_for_real(tmp_path, monkeypatch, None, GIVES_SECRET.replace("GIVEN", given), TAKES_SECRET)
    assert task.error is not None
    assert task.error.code == "invalid"
    assert "SECRET_KEY" in task.error.message
    assert not store.list(TaskFilter(parent=task.task_id)).items


ENDS = """
      - {id: made, uses: flaky, with: {what: made}, compensate: [{id: undo, queue: q, uses: flaky, with: {what: undo}}]}
      - {id: hold, WAIT}
on_failure: [{id: told, queue: q, workflow: other, with: {what: "${{ error.code }}"}}]
on_cancel: [{id: told, queue: q, foreach: [x, y], uses: flaky, with: {what: "${{ item }}"}}]
finally: [{id: end, queue: q, uses: flaky, with: {what: "end ${{ steps.made.output }}"}}]
"""


@pytest.mark.parametrize("ending", ["cancel", "failure"])
def test_children_undo_and_end_a_task(cluster: Cluster, ending: str) -> None:
    use("say", say)
    flaky = Flaky("bad")
    wait = "wait: 1h" if ending == "cancel" else "uses: flaky, with: {what: bad}"
    task = cluster.create(written(ENDS.replace("WAIT", wait)), OTHER)
    cluster.run_once(task.task_id)
    if ending == "cancel":
        cluster.harness.store.cancel(task.task_id)
    ended = cluster.finish_all(task)
    assert ended.status is (Status.CANCELLED if ending == "cancel" else Status.FAILED)
    between = ["x", "y"] if ending == "cancel" else []
    assert [call for call in flaky.calls if call != "bad"] == ["made", "undo", *between, "end made"]
    assert set(statuses(cluster, task)) == {"completed"}
    assert cluster.runs[task.task_id] == 5 - (ending == "failure")


def test_a_round_of_items_is_tried_again_after_its_pause_also_after_a_crash(tmp_path: Path) -> None:
    use("say", say)
    inner = (
        "id: inner\nvariables: {what: {type: string}}\nsteps: [{uses: flaky, with: {what: '${{ variables.what }}'}}]"
    )
    step = """
      - id: one
        queue: q
        foreach: {in: [a, b, c], max_parallel: 3}
        workflow: inner
        with: {what: '${{ item }}'}
        retry: {max_retries: 1, delay: 10m}
        on_error: continue"""
    for write in range(1, 40):
        cluster, flaky = Cluster(Harness(tmp_path, suspend_after=0)), Flaky("b", retryable=True)
        cluster.harness.store.crash_at = write
        task = cluster.run(written(step), inner)
        assert (task.status, cluster.harness.statuses(task)["one"]) == (Status.COMPLETED, "failed")
        failed = cluster.harness.steps(task)["one[1]"]
        assert (failed.tries, failed.attempts, len(failed.history)) == (2, 2, 2), f"at write {write}"
        assert len(flaky.calls) <= 4 + cluster.crashes
        if not cluster.crashes:
            return


def test_a_child_that_starts_at_once_sees_all_that_came_before(cluster: Cluster) -> None:
    use("say", say)
    task = cluster.create(written(SAME["items that are groups"]), day="today")
    cluster.harness.store.rings_with(lambda queued: cluster.run_once(queued.task_id) if queued.ancestors else None)
    ended = cluster.finish(task)
    assert ended.status is Status.COMPLETED, ended.error
    assert [item["inner"] for item in cluster.harness.output(ended, "one")] == ["a first", "b first"]


def test_a_cancelled_parent_holds_nothing_while_its_children_end(cluster: Cluster) -> None:
    use("say", say)
    flaky = Flaky()
    inner = "id: inner\nsteps: [{wait: 1h}]\nfinally: [{uses: flaky, with: {what: end}}]"
    task = cluster.create(written("\n      - {id: one, queue: q, foreach: {in: [1, 2]}, workflow: inner}"), inner)
    cluster.run_once(task.task_id)
    while cluster.work():
        continue
    cluster.harness.store.cancel(task.task_id)
    cluster.run_once(task.task_id)
    assert cluster.harness.store.get(task.task_id).status is Status.WAITING
    assert cluster.finish_all(task).status is Status.CANCELLED
    assert (flaky.calls, cluster.runs[task.task_id]) == (["end"], 3)


def test_a_child_of_an_earlier_round_gets_what_is_there_now(cluster: Cluster) -> None:
    flaky, booked, undone = Flaky("booking 1"), iter(["booking 1", "booking 2"]), list[str]()
    use("book", lambda: next(booked))
    use("undo", lambda ref: undone.append(ref))
    task = cluster.run(BOOKING, PAYMENT)
    assert (task.status, undone) == (Status.FAILED, ["booking 1"])
    assert retry(cluster, task).status is Status.COMPLETED
    assert flaky.calls == ["booking 1", "booking 2"]


BOOKING = """
id: outer
steps:
  - {id: book, uses: book, compensate: [{uses: undo, with: {ref: "${{ steps.book.output }}"}}]}
  - {id: call, workflow: inner, queue: q, with: {ref: "${{ steps.book.output }}"}}
"""
PAYMENT = """
id: inner
variables: {ref: {type: string}}
steps: [{uses: flaky, with: {what: "${{ variables.ref }}"}}]
"""


@pytest.mark.parametrize("step", ["foreach: '${{ variables.names }}'", "if: true"])
def test_a_retry_by_hand_with_other_variables_reaches_the_children(cluster: Cluster, step: str) -> None:
    flaky, text = Flaky("bad"), CHANGED.replace("STEP", step)
    task = cluster.run(text, names=["bad"])
    assert task.status is Status.FAILED
    reset = to_reset(list(cluster.harness.steps(task).values()))
    cluster.harness.store.retry(task.task_id, reset, task.attempt, Revision('{"names":["good"]}'))
    assert cluster.finish_all(task).status is Status.COMPLETED
    assert flaky.calls == ["bad", "good"]


CHANGED = """
variables: {names: {type: list}}
steps:
  - id: one
    STEP
    queue: q
    uses: flaky
    with: {what: "${{ variables.names[0] }}"}
"""


def die_after_spawn(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the process die so many times right after it has made children."""
    store, left = cluster.harness.store, list(range(times))

    def spawn(*asked: Any) -> Crew:
        crew = CrashingStore.spawn(store, *asked)
        if left:
            left.pop()
            raise Crash
        return crew

    monkeypatch.setattr(store, "spawn", spawn)


@pytest.mark.parametrize("are_cancelled", [True, False])
def test_a_round_that_a_lost_task_left_is_not_taken_up_by_a_retry(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, are_cancelled: bool
) -> None:
    use("say", say)
    flaky, store = Flaky(), cluster.harness.store
    task = cluster.create(each())
    die_after_spawn(cluster, monkeypatch, times=3)
    while not store.get(task.task_id).ended:
        cluster.run_once(task.task_id)
    assert store.crew(task.task_id, "one").round == cluster.harness.steps(task)["one"].attempts + 1
    if are_cancelled:
        assert len(store.cancel_children(task.task_id)) == 5
    again = retry(cluster, task)
    assert again.status is Status.COMPLETED, again.error
    assert flaky.calls == ["a", "b", "c", "d", "e"]
    assert (cluster.harness.steps(task)["one"].attempts, store.crew(task.task_id, "one").round) == (2, 2)


def test_a_round_that_was_over_before_all_knew_of_it_is_not_begun_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("say", say)
    flaky, store = Flaky("b"), cluster.harness.store
    task = cluster.create(each())
    die_after_spawn(cluster, monkeypatch, times=1)
    cluster.run_once(task.task_id)
    while children := [one for one in store.queued(older_than=0) if one.ancestors]:
        cluster.run_once(children[0].task_id)
    assert store.crew(task.task_id, "one").closed
    ended = cluster.finish_all(task)
    assert (ended.status, ended.error and ended.error.message) == (Status.FAILED, "b is bad")
    assert (flaky.calls, cluster.harness.steps(task)["one"].attempts) == (["a", "b"], 1)
