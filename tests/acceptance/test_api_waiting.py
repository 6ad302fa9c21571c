"""Tasks that wait, over HTTP: what they wait for, signals, and child tasks, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.conftest import StartServer
from tests.acceptance.serving import Server, eventually
from tests.servers import RedisServer

from stepwell.api_keys import ApiKey, Role, digest, new_secret

RELEASE = """
variables: {version: {type: integer, default: 2}}
steps:
  - id: ask
    steps:
      - id: release
        wait:
          approval: "Publish ${{ variables.version }}?"
          approvers: [ada, eve]
  - {id: after, output: "${{ steps.ask.output }}"}
outputs: {answer: "${{ steps.after.output }}"}
"""
PAID = """
steps: [{id: paid, wait: {event: order.paid, match: event.order == 17}}]
outputs: {sum: "${{ steps.paid.output.sum }}"}
"""
EACH = """
steps:
  - id: each
    foreach: {in: [a, b], max_parallel: 2}
    steps: [{id: inner, wait: {approval: "${{ item }}?"}}]
outputs: {answers: "${{ steps.each.output }}"}
"""
NAP = """
steps: [{id: nap, wait: 6s}, {id: after, output: rested}]
outputs: {state: "${{ steps.after.output }}"}
"""
SPREAD = """
steps:
  - id: squares
    queue: workflow_execute
    foreach: {in: "${{ range(12) }}", max_parallel: 5}
    steps: [{id: inner, output: "${{ item * item }}"}]
outputs: {squares: "${{ steps.squares.output }}"}
"""
UNDONE = """
steps:
  - {id: begin, output: 1}
  - {id: release, wait: {approval: "?"}}
finally: [{id: tidy, output: tidied}]
"""
WORKFLOWS = {"release": RELEASE, "paid": PAID, "each": EACH, "nap": NAP, "spread": SPREAD, "undone": UNDONE}


@pytest.fixture(scope="module")
def small(start_shared: StartServer) -> Server:
    """A server that runs one task at a time."""
    server = start_shared(INLINE_MAX_CONCURRENCY="1")
    for name, text in WORKFLOWS.items():
        server.write(name, text)
    return server


def begun(server: Server, workflow: str, **body: Any) -> dict[str, Any]:
    """The answer to a task that waits."""
    answer = server.post(f"/workflows/{workflow}/execute", body)
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    assert accepted["status"] == "waiting"
    return accepted


def shown(server: Server, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = server.get(f"/workflows/tasks/{task_id}").json()
    return task


def step(server: Server, task_id: str, path: str) -> dict[str, Any]:
    items = server.get(f"/workflows/tasks/{task_id}/steps?limit=1000").json()["items"]
    found: dict[str, Any] = next(one for one in items if one["path"] == path)
    return found


def test_an_approval(small: Server) -> None:
    task_id = begun(small, "release")["task_id"]
    url = f"/workflows/tasks/{task_id}/signal/ask/release"
    assert small.post(url, {"approved": "perhaps"}).json()["errors"][0]["field"] == "approved"
    answer = small.post(url, {"approved": True, "comment": "well done"})
    assert (answer.status_code, answer.json()["accepted"], answer.json()["name"]) == (200, True, "ask/release")
    ended = small.ended(task_id)
    assert ended["result"]["outputs"] == {"answer": {"approved": True, "comment": "well done"}}
    assert "waiting_for" not in ended
    assert small.post(url, {"approved": True, "comment": "well done"}).json()["accepted"] is False
    refused = small.post(url, {"approved": False})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:stepwell:problem:conflict")


def test_the_answer_and_the_record_tell_what_is_waited_for(small: Server) -> None:
    accepted = begun(small, "release")
    task_id = accepted["task_id"]
    assert accepted["message"] == (
        f"it waits for the approval 'ask/release' (Publish 2?): POST /api/workflows/tasks/{task_id}/signal/ask/release"
    )
    expected = {"path": "ask/release", "kind": "approval", "name": "ask/release", "message": "Publish 2?", "due": None}
    assert accepted["waiting_for"] == shown(small, task_id)["waiting_for"] == [expected]
    found = step(small, task_id, "ask/release")
    assert (found["status"], found["completed_at"]) == ("waiting", None)
    wait = found["wait"]
    assert (wait["kind"], wait["approvers"], wait["due"]) == ("approval", ["ada", "eve"], None)
    assert wait["form"]["properties"]["approved"] == {"type": "boolean"}
    assert wait["form"]["required"] == ["approved"]
    assert wait["fields"]["comment"]["type"] == "string"
    small.post(f"/workflows/tasks/{task_id}/cancel")
    assert step(small, task_id, "ask/release")["status"] == "cancelled"
    assert "waiting_for" not in shown(small, task_id)


def test_it_waits_on_after_a_restart(server: StartServer) -> None:
    first = server(workflows={"release": RELEASE})
    task_id = begun(first, "release")["task_id"]
    first.stop()
    second = server()
    assert shown(second, task_id)["status"] == "waiting"
    second.post(f"/workflows/tasks/{task_id}/signal/release", {"approved": False})
    assert second.ended(task_id)["result"]["outputs"] == {"answer": {"approved": False, "comment": None}}


def test_of_many_answers_at_once_one_counts(small: Server) -> None:
    task_id = begun(small, "release")["task_id"]

    def answer(number: int) -> int:
        url = f"/workflows/tasks/{task_id}/signal/release"
        return small.post(url, {"approved": True, "comment": str(number)}).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(answer, range(8))) == [200, *[409] * 7]
    comment = small.ended(task_id)["result"]["outputs"]["answer"]["comment"]
    assert answer(int(comment)) == 200


@pytest.mark.parametrize("escaped", [True, False])
def test_the_path_of_an_item(small: Server, escaped: bool) -> None:
    task_id = begun(small, "each")["task_id"]
    for path, approved in (("each[1]/inner", True), ("each[0]/inner", False)):
        name = quote(path, safe="") if escaped else path
        answer = small.post(f"/workflows/tasks/{task_id}/signal/{name}", {"approved": approved})
        assert answer.json()["name"] == path, answer.text
    answers = small.ended(task_id)["result"]["outputs"]["answers"]
    assert [one["approved"] for one in answers] == [False, True]


def test_an_event(small: Server) -> None:
    task_id = begun(small, "paid")["task_id"]
    url, key = f"/workflows/tasks/{task_id}/signal/order.paid", {"Idempotency-Key": "k"}
    assert small.post(url, {"order": 16, "sum": 1}, headers=key).json()["accepted"] is True
    assert small.post(url, {"order": 16, "sum": 1}, headers=key).json()["accepted"] is False
    assert small.post(url, {"order": 17, "sum": 1}, headers=key).status_code == 409
    eventually(lambda: shown(small, task_id)["status"] == "waiting")
    assert small.post(url, {"order": 17, "sum": 9}).status_code == 200
    assert small.ended(task_id)["result"]["outputs"] == {"sum": 9}


def test_no_body_is_an_empty_object(small: Server) -> None:
    small.write("any_event", "steps: [{id: a, wait: {event: go}}]\noutputs: {got: '${{ steps.a.output }}'}")
    for content, got in ((b"", {}), (b"null", None), (b"[1]", [1])):
        task_id = begun(small, "any_event")["task_id"]
        headers = {"Content-Type": "application/json"}
        url = f"/api/workflows/tasks/{task_id}/signal/go"
        assert small.client.post(url, content=content, headers=headers).status_code == 200
        assert small.ended(task_id)["result"]["outputs"] == {"got": got}


@pytest.mark.parametrize(
    ("name", "content", "status", "told"),
    [
        ("relaese", b"{}", 404, "did you mean 'release'"),
        ("release", b"[]", 422, "must be an object"),
        ("release", b"{", 422, "is no JSON"),
        ("release", b"[" * 100_000, 422, "is no JSON"),
        ("release", b'{"approved": true, "comment": "' + b"x" * 1024 * 1024 + b'"}', 422, "1,048,576 bytes"),
        ("release", b"{}", 422, "approved: is required"),
    ],
)
def test_a_signal_that_is_refused(small: Server, name: str, content: bytes, status: int, told: str) -> None:
    task_id = begun(small, "release")["task_id"]
    url, headers = f"/api/workflows/tasks/{task_id}/signal/{name}", {"Content-Type": "application/json"}
    answer = small.client.post(url, content=content, headers=headers)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text
    assert shown(small, task_id)["status"] == "waiting"


def test_only_approvers_may_answer(start_shared: StartServer) -> None:
    secrets = {name: new_secret() for name in ("ada", "bob", "looker", "root")}
    roles = {"ada": Role.OPERATOR, "bob": Role.ADMIN, "looker": Role.VIEWER, "root": Role.ADMIN}
    keys = ", ".join(str(ApiKey(name, role, digest(secrets[name]))) for name, role in roles.items())
    keyed = start_shared(API_KEYS=keys)
    keyed.write("release", RELEASE)
    of = {name: {"Authorization": f"Bearer {secret}"} for name, secret in secrets.items()}
    task_id = keyed.post("/workflows/release/execute", headers=of["bob"]).json()["task_id"]
    url = f"/workflows/tasks/{task_id}/signal/release"
    kinds = []
    for name in ("looker", "bob", "ada"):
        answer = keyed.post(url, {"approved": True}, headers=of[name])
        kinds.append((answer.status_code, answer.json().get("type", "").rpartition(":")[2]))
    assert kinds == [(403, "role-needed"), (403, "forbidden"), (200, "")]
    eventually(lambda: keyed.get(f"/workflows/tasks/{task_id}", headers=of["bob"]).json()["status"] == "completed")
    again = keyed.post(url, {"approved": False}, headers=of["ada"])
    assert "by ada" in again.json()["detail"]

    def noted() -> list[tuple[str, int]]:
        items = keyed.get("/audit?limit=1000", headers=of["root"]).json()["items"]
        return [(one["actor"], one["outcome"]) for one in items if one["target"] == f"{task_id}/release"]

    assert eventually(lambda: len(found := noted()) == 3 and found) == [("ada", 409), ("ada", 200), ("bob", 403)]


def test_a_time_comes_by_itself(small: Server) -> None:
    accepted = begun(small, "nap")
    assert accepted["message"].startswith("it waits until 2")
    assert small.ended(accepted["task_id"])["result"]["outputs"] == {"state": "rested"}


def test_asking_for_the_end_is_not_answered_by_a_wait(small: Server) -> None:
    task_id = begun(small, "release")["task_id"]
    assert small.get(f"/workflows/tasks/{task_id}?wait=100ms").json()["status"] == "waiting"
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(small.get, f"/workflows/tasks/{task_id}?wait=30s")
        small.post(f"/workflows/tasks/{task_id}/signal/release", {"approved": True})
        assert asked.result().json()["status"] == "completed"


def test_a_waiting_task_with_something_to_undo_is_cancelled_in_its_time(small: Server) -> None:
    task_id = begun(small, "undone")["task_id"]
    assert small.post(f"/workflows/tasks/{task_id}/cancel").status_code == 202
    assert small.ended(task_id)["status"] == "cancelled"
    assert step(small, task_id, "finally/tidy")["output"] == "tidied"
    assert step(small, task_id, "release")["status"] == "cancelled"


def test_children_where_one_task_runs_at_a_time(small: Server) -> None:
    """The parent gives its place to them, or all would wait for each other."""
    task_id = begun(small, "spread")["task_id"]
    assert small.ended(task_id)["result"]["outputs"] == {"squares": [number * number for number in range(12)]}
    url = f"/workflows/tasks/{task_id}/children"
    page = small.get(f"{url}?limit=8").json()
    rest = small.get(f"{url}?limit=8&cursor={page['next_cursor']}").json()
    children = [*page["items"], *rest["items"]]
    assert [one["index"] for one in children] == list(range(12))
    family = [{one["parent_id"], one["root_id"]} for one in children]
    assert (family, {one["place"] for one in children}) == ([{task_id}] * 12, {"squares"})
    listed = small.get(f"/workflows/tasks?parent={task_id}&place=squares&limit=1000").json()["items"]
    assert [one["task_id"] for one in listed] == [one["task_id"] for one in children]
    assert small.get(f"{url}?place=other").json()["items"] == []
    assert small.get(f"{url}?status=failed").json()["items"] == []
    roots = {one["task_id"] for one in small.get("/workflows/tasks?limit=1000").json()["items"]}
    assert not roots & {one["task_id"] for one in children}
    child = shown(small, children[3]["task_id"])
    assert (child["result"]["variables"]["item"], child["result"]["outputs"]) == (3, 9)
    assert step(small, task_id, "squares")["wait"]["total"] == 12


def test_children_are_asked_for_by_their_parent(small: Server) -> None:
    answer = small.get("/workflows/tasks?place=squares")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "place")
    assert small.get("/workflows/tasks/unknown/children").status_code == 404


def test_waiting_tasks_are_counted(start_shared: StartServer) -> None:
    server = start_shared()
    server.write("release", RELEASE)
    task_id = begun(server, "release")["task_id"]
    counts = server.get("/workflows/queue/stats").json()
    assert (counts["queues"]["workflow_execute"]["waiting"], counts["current_processing"]) == (1, 0)
    server.post(f"/workflows/tasks/{task_id}/cancel")
    assert server.get("/workflows/queue/stats").json()["queues"]["workflow_execute"]["waiting"] == 0


def test_what_waits_does_not_hold_up_others(start_shared: StartServer) -> None:
    server = start_shared(INLINE_MAX_CONCURRENCY="1", INLINE_QUEUE_MAX_SIZE="1")
    server.write("release", RELEASE)
    waiting = [begun(server, "release")["task_id"] for _ in range(5)]
    assert server.post("/workflows/hello/execute").status_code == 200
    for task_id in waiting:
        server.post(f"/workflows/tasks/{task_id}/signal/release", {"approved": True})
    assert {server.ended(task_id)["status"] for task_id in waiting} == {"completed"}


# -- with workers --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["redis", "sql"])
def deployed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """An API and two workers; records are kept in Redis, or in SQLite."""
    settings = {} if request.param == "redis" else {"DATABASE_URL": f"sqlite:///{tmp_path}/tasks.db"}
    with (
        RedisServer(tmp_path / "redis", appendfsync="always") as redis,
        cluster(tmp_path, redis, WORKFLOWS, workers=2, **settings) as one,
    ):
        yield one


def test_waiting_and_children_with_workers(deployed: Cluster) -> None:
    approved, spread = deployed.submit("release")["task_id"], deployed.submit("spread")["task_id"]
    waiting = deployed.until(approved, "waiting")
    assert waiting["waiting_for"][0]["path"] == "ask/release"
    url = f"/workflows/tasks/{approved}/signal/release"
    assert deployed.api.post(url, {"approved": True}).json()["accepted"] is True
    assert deployed.until(approved, "completed")["result"]["outputs"]["answer"]["approved"] is True
    assert deployed.api.post(url, {"approved": True}).json()["accepted"] is False
    squares = deployed.until(spread, "completed")["result"]["outputs"]["squares"]
    assert squares == [number * number for number in range(12)]
    children = deployed.api.get(f"/workflows/tasks/{spread}/children?status=completed").json()["items"]
    assert [one["index"] for one in children] == list(range(12))
