"""Cancel at every moment of a task: nothing starts afterwards but what undoes it, and that runs once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.cluster import TASKS, cluster
from tests.acceptance.serving import Server, eventually, start
from tests.servers import RedisServer

LINE = "knowledge_search"
"""The queue of the tasks, that can be paused."""

OUTLINE = """
queue: knowledge_search
variables: {notes: {type: string, required: true}}
env: {NOTES: "${{ variables.notes }}"}
steps:
  - id: reserve
    run: echo reserve >> "$NOTES"
    compensate: [{id: release, run: echo release >> "$NOTES"}]
  - id: moment
    MOMENT
  - {id: after, run: echo after >> "$NOTES"}
on_cancel: [{id: sorry, run: echo sorry >> "$NOTES"}]
finally: [{id: tidy, run: echo tidy >> "$NOTES"}]
"""
ENDING = ["release", "sorry", "tidy"]
ENDING_STEPS = ["reserve/compensate/release", "on_cancel/sorry", "finally/tidy"]


@dataclass(frozen=True)
class Moment:
    """What the task does when it is cancelled: `seen` are its events of which each has come by then. `answers` are the
    statuses that a cancel without force, and if that is refused one with it, is answered with."""

    step: str
    seen: tuple[tuple[str, str], ...]
    answers: tuple[int, ...]
    children: int = 0


RUNNING, AT_REST = (409, 202), (202,)

MOMENTS = {
    "in a step": Moment("uses: sleep\n    with: {seconds: 600}", (("step.started", "moment"),), RUNNING),
    "between steps": Moment(
        "until: index == 9999\n    run: 'true'\n    max_times: 10000", (("step.completed", "moment[2]"),), RUNNING
    ),
    "in a retry pause": Moment(
        "run: exit 3\n    retry: {max_retries: 9, delay: 4s, backoff: 1}", (("step.retrying", "moment"),), RUNNING
    ),
    "in a retry pause that is slept through": Moment(
        "run: exit 3\n    retry: {delay: 1h, max_delay: 1h}",
        (("step.retrying", "moment"), ("task.waiting", "")),
        AT_REST,
    ),
    "while it waits": Moment("wait: 1h", (("step.waiting", "moment"), ("task.waiting", "")), AT_REST),
    "in foreach": Moment(
        "foreach: {in: 'range(6)', max_parallel: 2}\n    uses: sleep\n    with: {seconds: 600}",
        (("step.started", "moment[0]"), ("step.started", "moment[1]")),
        RUNNING,
    ),
    "in a child task": Moment(
        "queue: workflow_execute\n    steps: [{id: nap, uses: sleep, with: {seconds: 600}}, {id: then, output: 1}]",
        (("step.waiting", "moment"), ("task.waiting", "")),
        AT_REST,
        children=1,
    ),
    "in child tasks for items": Moment(
        "queue: workflow_execute\n    foreach: {in: 'range(4)', max_parallel: 1}\n    uses: sleep\n"
        "    with: {seconds: 600}",
        (("step.waiting", "moment"), ("task.waiting", "")),
        AT_REST,
        children=4,
    ),
}


def workflow(name: str) -> str:
    """The id of the workflow of a moment."""
    return name.replace(" ", "_")


WORKFLOWS = {workflow(name): OUTLINE.replace("MOMENT", moment.step) for name, moment in MOMENTS.items()}


@pytest.fixture(scope="module", params=["inline", "queued"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as opened:
        if request.param == "inline":
            server = start(folder, WORKFLOWS, INLINE_ASYNC="background")
            opened.callback(server.close)
        else:
            redis = opened.enter_context(RedisServer(folder / "redis"))
            server = opened.enter_context(cluster(folder / "app", redis, WORKFLOWS)).api
        yield server


def submit(server: Server, name: str, notes: Path) -> str:
    answer = server.post(
        f"/workflows/{workflow(name)}/execute?async_execute=true", {"variables": {"notes": str(notes)}}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def items(server: Server, task_id: str, part: str) -> list[dict[str, Any]]:
    answer = server.get(f"{TASKS}/{task_id}/{part}?limit=1000")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def has_seen(server: Server, task_id: str, wanted: tuple[tuple[str, str], ...]) -> bool:
    seen = {(event["kind"], event["path"] or "") for event in items(server, task_id, "events")}
    return seen.issuperset(wanted)


def cancel(server: Server, task_id: str, force: bool = False) -> int:
    return server.post(f"{TASKS}/{task_id}/cancel" + "?force=true" * force).status_code


def started_after_cancel(events: list[dict[str, Any]]) -> list[str]:
    """The steps that were announced after a cancel had been asked for."""
    asked = next(index for index, event in enumerate(events) if event["kind"] == "task.cancel_requested")
    return [event["path"] for event in events[asked:] if event["kind"] == "step.started"]


def has_child_at_work(server: Server, task_id: str) -> bool:
    """Whether a step of a child task runs."""
    running = [child["task_id"] for child in items(server, task_id, "children") if child["status"] == "running"]
    return any(event["kind"] == "step.started" for child in running for event in items(server, child, "events"))


@pytest.mark.parametrize("name", MOMENTS)
def test_nothing_starts_after_a_cancel_but_what_undoes_the_task(server: Server, tmp_path: Path, name: str) -> None:
    moment, notes = MOMENTS[name], tmp_path / "notes"
    task_id = submit(server, name, notes)
    eventually(lambda: has_seen(server, task_id, moment.seen))
    if moment.children:
        eventually(lambda: has_child_at_work(server, task_id))
    answers = [cancel(server, task_id, force=number > 0) for number in range(len(moment.answers))]
    assert tuple(answers) == moment.answers

    task = server.ended(task_id)
    assert (task["status"], task["result"]["outputs"]) == ("cancelled", {})
    events = items(server, task_id, "events")
    assert started_after_cancel(events) == ENDING_STEPS
    completed = [event["path"] for event in events if event["kind"] == "step.completed"]
    assert completed[-3:] == ENDING_STEPS
    assert len(completed) == len(set(completed))
    assert events[-1]["kind"] == "task.cancelled"
    assert notes.read_text().split() == ["reserve", *ENDING]
    steps = {step["path"]: step["status"] for step in items(server, task_id, "steps")}
    assert steps["moment"] == "cancelled"
    assert set(steps.values()) <= {"completed", "cancelled"}
    assert cancel(server, task_id) == 200


@pytest.mark.parametrize("name", [name for name, moment in MOMENTS.items() if moment.children])
def test_its_child_tasks_end(server: Server, tmp_path: Path, name: str) -> None:
    task_id = submit(server, name, tmp_path / "notes")
    eventually(lambda: has_child_at_work(server, task_id))
    eventually(lambda: has_seen(server, task_id, MOMENTS[name].seen))
    cancel(server, task_id)
    server.ended(task_id)
    children = items(server, task_id, "children")
    assert [child["status"] for child in children] == ["cancelled"] * MOMENTS[name].children
    begun = [items(server, child["task_id"], "events") for child in children if child["started_at"]]
    assert len(begun) == 1
    assert started_after_cancel(begun[0]) == []
    assert cancel(server, children[0]["task_id"]) == 200


def test_a_task_that_has_not_begun_is_cancelled_at_once(server: Server, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert server.post(f"/workflows/queue/{LINE}/pause").is_success
    try:
        task_id = submit(server, "in a step", notes)
        assert server.get(f"{TASKS}/{task_id}").json()["status"] == "queued"
        assert cancel(server, task_id) == 200
    finally:
        assert server.post(f"/workflows/queue/{LINE}/resume").is_success
    assert server.ended(task_id)["status"] == "cancelled"
    assert [event["kind"] for event in items(server, task_id, "events")] == [
        "task.created",
        "task.queued",
        "task.cancelled",
    ]
    assert items(server, task_id, "steps") == []
    assert not notes.exists()
    assert cancel(server, task_id, force=True) == 200
