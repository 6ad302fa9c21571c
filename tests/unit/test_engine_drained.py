"""A process that is told to end while it writes hands its task back: nothing of it is lost, or taken for cancelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine_cluster import Cluster
from tests.unit.engine_harness import Harness, use

from stepwell.task import NewMail, Status, Task

SHAPES = {
    "more steps at once than there is room for": """
        max_parallel: 1
        steps:
          - id: all
            parallel:
              - {id: a, uses: note, with: {what: a}}
              - {id: b, steps: [{id: b1, uses: note, with: {what: b1}}, {id: b2, uses: note, with: {what: b2}}]}
              - {id: c, uses: note, with: {what: c}}
        """,
    "items that are groups": """
        steps:
          - id: all
            foreach: {in: [1, 2, 3], max_parallel: 3}
            steps: [{id: a, uses: note, with: {what: "${{ item }}"}}, {id: b, uses: note, with: {what: "${{ index }}"}}]
        """,
    "a child task": "steps: [{id: all, queue: other, uses: note, with: {what: a}}]",
    "child tasks, made one at a time": """
        steps:
          - {id: all, queue: other, foreach: {in: [1, 2], max_parallel: 2}, uses: note, with: {what: "${{ item }}"}}
        """,
}


def drained(folder: Path, text: str, at: int) -> tuple[Cluster, Task, int]:
    """A task that has ended, whose first process was told to end after so many writes; and how many there were."""
    cluster, writes = Cluster(Harness(folder, suspend_after=0)), 0
    store = cluster.harness.store

    def draining(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*given: Any) -> Any:
            nonlocal writes
            answer, writes = write(*given), writes + 1
            if writes == at:
                cluster.harness.engine.begin_drain()
            return answer

        return written

    for name in ("commit", "spawn", "suspend"):
        setattr(store, name, draining(getattr(store, name)))
    return cluster, cluster.run(text), writes


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_a_drain_at_any_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("stepwell.engine.crews.BATCH", 1)
    use("note", lambda what: what)
    smooth, expected, writes = drained(tmp_path, text, at=0)
    assert (expected.status, writes >= 2) == (Status.COMPLETED, True)
    for at in range(1, writes + 1):
        cluster, task, _ = drained(tmp_path, text, at)
        assert task.status is Status.COMPLETED, f"at write {at}"
        assert cluster.harness.statuses(task) == smooth.harness.statuses(expected)
        assert cluster.harness.output(task, "all") == smooth.harness.output(expected, "all")
        assert len(cluster.children(task)) == len(smooth.children(expected))


def test_a_step_whose_children_run_still_waits_after_something_else_has_come(tmp_path: Path) -> None:
    cluster = Cluster(Harness(tmp_path, suspend_after=0))
    task = cluster.create("steps: [{id: all, queue: other, foreach: [1, 2], wait: 1h}]")
    cluster.finish(task, until=lambda task: task.status is Status.WAITING)
    cluster.harness.store.send(task.task_id, NewMail("not for it", "{}"))
    cluster.run_once(task.task_id)
    assert cluster.harness.statuses(task)["all"] == "waiting"


def test_a_step_that_is_cancelled_in_a_long_pause_is_cancelled(tmp_path: Path) -> None:
    cluster = Cluster(Harness(tmp_path, suspend_after=0))
    text = """
        steps: [{id: a, uses: fail, with: {message: x, retryable: true}, retry: {delay: 1h, max_delay: 1h}}]
        finally: [{id: z, output: 1}]
        """
    task = cluster.create(text)
    cluster.finish(task, until=lambda task: task.status is Status.WAITING)
    cluster.harness.store.cancel(task.task_id)
    assert cluster.finish(task).status is Status.CANCELLED
    assert cluster.harness.statuses(task) == {"a": "cancelled", "finally/z": "completed"}
