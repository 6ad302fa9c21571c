"""Running workflows over HTTP, on a real server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.acceptance.conftest import StartServer
from tests.acceptance.serving import HELLO, Gate, Server, eventually

TASK_FIELDS = {
    "task_id",
    "type",
    "workflow_id",
    "status",
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
    "result",
    "error",
    "retry_count",
    "max_retries",
    "queue",
    "priority",
    "external_id",
    "labels",
    "progress",
}
PROGRESS_FIELDS = {
    "status",
    "stage",
    "progress_percent",
    "message",
    "filename",
    "current_bytes",
    "total_bytes",
    "speed",
    "eta_seconds",
    "error",
}
FAILING = """
max_retries: 0
steps:
  - {id: first, output: 1}
  - id: break_
    uses: fail
    with: {message: it is broken, code: broken}
outputs: {never: 1}
"""


@pytest.fixture(scope="module")
def background(start_shared: StartServer) -> Server:
    """A server that answers `async_execute` at once, runs one task at a time and lets four wait."""
    return start_shared(INLINE_ASYNC="background", INLINE_MAX_CONCURRENCY="1", INLINE_QUEUE_MAX_SIZE="4")


@pytest.mark.parametrize("prefix", ["/api", ""])
def test_execute_answers_the_ended_task(shared: Server, prefix: str) -> None:
    answer = shared.client.post(f"{prefix}/workflows/hello/execute", json={"variables": {"name": "Ada"}})
    task = answer.json()
    assert answer.status_code == 200
    assert task.keys() == {*TASK_FIELDS, "message"}
    assert task["progress"].keys() == PROGRESS_FIELDS
    assert task["status"] == task["progress"]["status"] == "completed"
    assert (task["type"], task["priority"]) == ("workflow_execute", "normal")
    assert (task["retry_count"], task["max_retries"]) == (0, 0)
    assert task["result"] == {
        "workflow_id": "hello",
        "status": "completed",
        "variables": {"name": "Ada"},
        "outputs": {"greeting": "Hello, Ada!"},
    }
    assert datetime.fromisoformat(task["created_at"]) <= datetime.fromisoformat(task["completed_at"])
    assert task["created_at"].endswith("Z")
    kept = shared.client.get(f"{prefix}/workflows/tasks/{task['task_id']}").json()
    assert kept == {name: value for name, value in task.items() if name != "message"}


@pytest.mark.parametrize("body", [None, {}, {"variables": {}}])
def test_a_missing_body_is_an_empty_one(shared: Server, body: object) -> None:
    assert shared.post("/workflows/hello/execute", body).json()["result"]["outputs"] == {"greeting": "Hello, World!"}


def test_async_execute_without_a_queue_says_that_it_is_degraded(shared: Server) -> None:
    answer = shared.post("/workflows/hello/execute?async_execute=true")
    assert answer.status_code == 200
    assert answer.json()["degraded"] is True
    assert "QUEUE_ENABLED is false" in answer.json()["reason"]
    assert answer.json()["status"] == "completed"


def test_execute_answers_200_for_a_task_that_failed(shared: Server) -> None:
    shared.write("failing", FAILING)
    answer = shared.post("/workflows/failing/execute")
    task = answer.json()
    assert (answer.status_code, task["status"], task["error"]["code"]) == (200, "failed", "broken")
    assert task["progress"]["error"] == "it is broken"
    assert task["result"]["outputs"] == {}
    assert task["error"]["step"] == "break_"
    status = shared.get(f"/workflows/tasks/{task['task_id']}/status").json()
    assert status.keys() == {"task_id", "state", "progress", "estimated_time", "error_details", "updated_at"}
    assert (status["state"], status["error_details"]) == ("failed", task["error"])


def test_all_that_a_caller_may_say_about_a_task(shared: Server) -> None:
    said = {
        "priority": "critical",
        "queue": "chat_process",
        "max_retries": 2,
        "timeout": "5m",
        "external_id": "order-7",
        "labels": {"team": "shop", "stage": "live"},
    }
    task = shared.post("/workflows/hello/execute", said).json()
    assert (task["priority"], task["queue"], task["type"]) == ("urgent", "chat_process", "chat_process")
    assert (task["max_retries"], task["external_id"], task["labels"]) == (2, "order-7", said["labels"])
    for query in ("external_id=order-7", "label.team=shop&label.stage=live", "queue=chat_process", "status=completed"):
        found = shared.get(f"/workflows/tasks?{query}").json()["items"]
        assert task["task_id"] in [one["task_id"] for one in found], query
    for query in ("external_id=order-8", "label.team=shop&label.stage=test", "workflow=other", "status=failed"):
        found = shared.get(f"/workflows/tasks?{query}").json()["items"]
        assert task["task_id"] not in [one["task_id"] for one in found], query


def test_the_query_says_it_too_and_wins(shared: Server) -> None:
    body = {"priority": "low"}
    assert shared.post("/workflows/hello/execute?priority=2", body).json()["priority"] == "high"
    delayed = shared.post("/workflows/hello/execute?delay=1h")
    assert (delayed.status_code, delayed.json()["status"]) == (202, "pending")
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert shared.post("/workflows/hello/execute", {"run_at": at}).json()["status"] == "pending"
    assert shared.post("/workflows/hello/execute", {"run_at": "2020-01-01T00:00:00"}).status_code == 200


def test_a_delayed_task_starts_by_itself(shared: Server) -> None:
    task_id = shared.post("/workflows/hello/execute", {"delay": "200ms"}).json()["task_id"]
    assert shared.ended(task_id)["status"] == "completed"


def test_an_idempotency_key_answers_the_first_task(shared: Server) -> None:
    headers = {"Idempotency-Key": "once"}
    first = shared.post("/workflows/hello/execute", headers=headers).json()
    again = shared.post("/workflows/hello/execute", headers=headers)
    assert (again.status_code, again.json()["task_id"]) == (200, first["task_id"])
    other = shared.post("/workflows/hello/execute", {"variables": {"name": "Bob"}}, headers=headers)
    assert (other.status_code, other.json()["task_status"]) == (409, "completed")


def test_a_batch_is_taken_whole_or_not_at_all(shared: Server) -> None:
    items = [{"variables": {"name": name}, "external_id": f"batch-{name}"} for name in ("Ada", "Bob")]
    answer = shared.post("/workflows/hello/execute/batch", {"items": items})
    assert answer.status_code == 202
    ended = [shared.ended(task["task_id"]) for task in answer.json()["items"]]
    assert [task["result"]["outputs"]["greeting"] for task in ended] == ["Hello, Ada!", "Hello, Bob!"]
    wrong = [{"external_id": "no"}, {"variables": {"nam": 1}}, {"variables": {"name": 1}}]
    refused = shared.post("/workflows/hello/execute/batch", {"items": wrong})
    assert refused.status_code == 422
    assert [one["field"] for one in refused.json()["errors"]] == ["items[1].variables.nam", "items[2].variables.name"]
    assert shared.get("/workflows/tasks?external_id=no").json()["items"] == []


def test_a_broken_file_is_listed_while_others_work(shared: Server) -> None:
    shared.write("broken", "steps:\n  - id: a\n    uses: lgo\n")
    listed = {one["id"]: one for one in shared.get("/workflows").json()["items"]}
    assert listed["hello"]["valid"] is True
    assert listed["broken"]["valid"] is False
    [problem] = listed["broken"]["problems"]
    assert (problem["line"], "did you mean 'log'" in problem["message"]) == (3, True)
    shown = shared.get("/workflows/broken").json()
    assert (shown["definition"], shown["problems"]) == (None, [problem])
    refused = shared.post("/workflows/broken/execute")
    assert (refused.status_code, refused.json()["problems"]) == (422, [problem])
    shared.write("broken", HELLO)
    assert shared.post("/workflows/broken/execute").json()["status"] == "completed"


def test_background_answers_at_once_and_priorities_order_the_pool(background: Server, gate: Gate) -> None:
    one = background
    first = one.post("/workflows/gated/execute?async_execute=true", {"variables": {"gate": str(gate.path)}})
    assert (first.status_code, first.json()["status"], first.json()["ahead"]) == (202, "queued", 0)
    assert first.json()["degraded"] is True
    assert first.headers["location"].endswith(first.json()["task_id"])
    with gate.held():
        ahead, ids = [], []
        for priority in ("low", "normal", "urgent", "normal"):
            queued = one.post(f"/workflows/hello/execute?async_execute=true&priority={priority}").json()
            ahead.append(queued["ahead"])
            ids.append(queued["task_id"])
        full = one.post("/workflows/hello/execute?async_execute=true")
        assert full.status_code == 503
        assert int(full.headers["retry-after"]) >= 1
        assert full.json()["type"] == "urn:stepwell:problem:queue-full"
        stats = one.get("/queue/stats").json()
        assert (stats["current_processing"], stats["queue_size"], stats["max_workers"]) == (1, 4, 1)
        assert stats["queues"]["workflow_execute"]["queue_length"] == 4
        assert one.get("/workflows/tasks").json()["items"][0]["task_id"] == ids[-1]
    assert ahead == [0, 0, 0, 2]
    low, normal, urgent, later = [one.ended(task_id)["started_at"] for task_id in ids]
    assert urgent < normal < later < low


def test_a_client_that_hangs_up_does_not_kill_its_task(shared: Server, gate: Gate) -> None:
    with pytest.raises(httpx.ReadTimeout):
        shared.post(
            "/workflows/gated/execute", {"variables": {"gate": str(gate.path)}, "external_id": "gone"}, timeout=0.5
        )
    gate.open()
    [task] = shared.get("/workflows/tasks?external_id=gone").json()["items"]
    assert shared.ended(task["task_id"])["status"] == "completed"
    assert gate.lines() == ["before", "after"]


def test_many_wait_for_a_task_and_nobody_else_has_to(background: Server, gate: Gate) -> None:
    one = background
    variables = {"gate": str(gate.path)}
    task_id = one.post("/workflows/gated/execute?async_execute=true", {"variables": variables}).json()["task_id"]

    async def ask() -> list[dict[str, Any]]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=one.url, timeout=60, limits=limits, trust_env=False) as client:
            waiting = [asyncio.create_task(client.get(f"/workflows/tasks/{task_id}?wait=30s")) for _ in range(100)]
            assert (await client.get("/ready")).status_code == 200
            assert not any(task.done() for task in waiting)
            await asyncio.to_thread(gate.open)
            return [answer.json() for answer in await asyncio.gather(*waiting)]

    assert {task["status"] for task in asyncio.run(ask())} == {"completed"}


def test_wait_ends_after_its_time(shared: Server) -> None:
    task_id = shared.post("/workflows/hello/execute?delay=1h").json()["task_id"]
    assert shared.get(f"/workflows/tasks/{task_id}?wait=100ms").json()["status"] == "pending"
    wrong = shared.get(f"/workflows/tasks/{task_id}?wait=soon")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "wait")


def test_cancel_of_a_running_task_needs_force(shared: Server, gate: Gate) -> None:
    with ThreadPoolExecutor() as threads:
        variables = {"gate": str(gate.path)}
        answer = threads.submit(shared.post, "/workflows/gated/execute", {"variables": variables, "external_id": "c"})
        with gate.held():
            [task] = shared.get("/workflows/tasks?external_id=c").json()["items"]
            path = f"/workflows/tasks/{task['task_id']}"
            assert 0 < shared.get(f"{path}/progress").json()["progress_percent"] < 100
            assert shared.get(f"{path}/status").json()["estimated_time"] > 0
            assert shared.get(f"{path}/progress").json()["stage"] == "hold"
            refused = shared.post(f"{path}/cancel")
            assert (refused.status_code, refused.json()["task_status"]) == (409, "running")
            retried = shared.post(f"{path}/retry")
            assert (retried.status_code, retried.json()["task_status"]) == (409, "running")
            forced = shared.post(f"{path}/cancel?force=true")
            assert forced.status_code in (200, 202)
            assert answer.result().json()["status"] == "cancelled"
    assert shared.ended(task["task_id"])["status"] == "cancelled"
    assert gate.lines() == ["before"]
    again = shared.post(f"{path}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


def test_cancel_of_what_has_not_started_is_done_at_once(shared: Server) -> None:
    task_id = shared.post("/workflows/hello/execute?delay=1h").json()["task_id"]
    answer = shared.post(f"/workflows/tasks/{task_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    ended = shared.post("/workflows/hello/execute").json()["task_id"]
    refused = shared.post(f"/workflows/tasks/{ended}/cancel")
    assert (refused.status_code, refused.json()["task_status"]) == (409, "completed")


def test_retry_goes_on_from_what_failed_or_from_a_step(shared: Server) -> None:
    workflow = """
steps:
  - {id: a, run: 'echo a >> "$LOG"', env: &log {LOG: "${{ variables.log }}"}}
  - {id: b, run: 'echo b >> "$LOG"; test -e "$LOG.ok"', env: *log}
  - {id: c, run: 'echo c >> "$LOG"', env: *log}
variables: {log: {type: string, required: true}}
"""
    one = shared
    one.write("three", workflow)
    log = one.folder / "three.log"
    task = one.post("/workflows/three/execute", {"variables": {"log": str(log)}}).json()
    path = f"/workflows/tasks/{task['task_id']}"
    assert (task["status"], log.read_text().split()) == ("failed", ["a", "b"])
    log.with_name("three.log.ok").touch()
    answer = one.post(f"{path}/retry")
    assert (answer.status_code, answer.json()["task_id"]) == (202, task["task_id"])
    assert one.ended(task["task_id"])["status"] == "completed"
    assert log.read_text().split() == ["a", "b", "b", "c"]
    assert one.post(f"{path}/retry?from_step=b").status_code == 202
    assert one.ended(task["task_id"])["status"] == "completed"
    assert log.read_text().split() == ["a", "b", "b", "c", "b", "c"]
    unknown = one.post(f"{path}/retry?from_step=bb")
    assert (unknown.status_code, "step" in unknown.json()["detail"]) == (404, True)


def test_names_in_chinese(shared: Server) -> None:
    workflow = """
variables: {关键词: {type: string, required: true}}
steps:
  - {id: 步骤, output: "${{ variables.关键词 }}"}
  - {id: 逐个, foreach: {in: [甲, 乙], as: 名}, output: "${{ 名 }}${{ steps.步骤.output }}"}
  - {id: 文件, run: echo 好 > 结果.txt, files: [结果.txt]}
outputs: {结果: "${{ steps.逐个.output }}"}
"""
    shared.write("转码", workflow)
    answer = shared.post(f"/workflows/{quote('转码')}/execute", {"variables": {"关键词": "猫"}})
    task = answer.json()
    assert (answer.status_code, task["status"], task["workflow_id"]) == (200, "completed", "转码")
    assert task["result"]["outputs"] == {"结果": ["甲猫", "乙猫"]}
    assert shared.get(f"/workflows/{quote('转码')}").json()["graph"]["nodes"][0]["path"] == "步骤"
    found = shared.get("/workflows/tasks", params={"workflow": "转码"}).json()["items"]
    assert [one["task_id"] for one in found] == [task["task_id"]]
    path = f"/workflows/tasks/{task['task_id']}"
    paths, cursor = [], None
    while page := shared.get(f"{path}/steps", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json():
        paths += [step["path"] for step in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert paths == ["步骤", "逐个", "逐个[0]", "逐个[1]", "文件"]
    assert {event["path"] for event in shared.get(f"{path}/events?limit=1000").json()["items"]} >= set(paths)
    [kept] = shared.get(f"{path}/files").json()["items"]
    assert shared.get(f"{path}/files/{kept['sha256']}").text == "好\n"
    assert shared.post(f"{path}/retry?from_step={quote('逐个')}").status_code == 202
    assert shared.ended(task["task_id"])["status"] == "completed"


def test_a_killed_server_goes_on_where_it_was(server: StartServer, gate: Gate) -> None:
    one = server({"INLINE_ASYNC": "background"})
    variables = {"gate": str(gate.path)}
    task_id = one.post("/workflows/gated/execute?async_execute=true", {"variables": variables}).json()["task_id"]
    with gate.held():
        one.process.kill()
        one.process.wait()
    other = server()
    gate.open()
    assert other.ended(task_id)["status"] == "completed"
    assert gate.lines() == ["before", "after"]
    [before, hold, after] = other.get(f"/workflows/tasks/{task_id}/steps").json()["items"]
    assert (before["attempts"], hold["attempts"], after["attempts"]) == (1, 2, 1)


def test_a_server_that_is_told_to_stop_hands_back_and_answers(server: StartServer, gate: Gate) -> None:
    one = server()
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(one.post, "/workflows/gated/execute", {"variables": {"gate": str(gate.path)}})
        with gate.held():
            one.process.terminate()
            eventually(lambda: "Shutting down" in one.log)
        handed_back = answer.result()
    assert (handed_back.status_code, handed_back.json()["status"]) == (202, "queued")
    assert one.process.wait(60) == 0
    assert gate.lines() == ["before"]
    assert server().ended(handed_back.json()["task_id"])["status"] == "completed"
    assert gate.lines() == ["before", "after"]
