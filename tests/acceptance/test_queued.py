"""The queue from end to end: `run.py` and several `run_worker.py` on a real Redis."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.serving import GATED, HELLO, Gate, eventually
from tests.servers import RedisServer

COUNTED = """
variables: {log: {type: string, required: true}}
steps:
  - id: count
    call: counting:add
    with: {log: "${{ variables.log }}", task: "${{ task.id }}"}
"""

COUNTING = """
import os

def add(log: str, task: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{task}\\n".encode())
    os.close(file)
"""

FAILS = "steps: [{id: a, uses: fail, with: {message: no, retryable: false}}]"
FAILS_ONCE = """
variables: {flag: {type: string, required: true}}
steps:
  - id: a
    run: test -e "$FLAG" || { touch "$FLAG"; exit 1; }
    env: {FLAG: "${{ variables.flag }}"}
"""

WORKFLOWS = {
    "hello": HELLO,
    "gated": GATED,
    "counted": COUNTED,
    "counting.py": COUNTING,
    "fails": FAILS,
    "fails_once": FAILS_ONCE,
}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", appendfsync="always") as server:
        yield server


@pytest.fixture
def deployed(tmp_path: Path, redis: RedisServer) -> Iterator[Cluster]:
    with cluster(tmp_path / "app", redis, WORKFLOWS) as made:
        yield made


def test_a_thousand_tasks_of_eight_clients_run_once_each_on_three_workers(tmp_path: Path, redis: RedisServer) -> None:
    log = tmp_path / "log"
    with cluster(tmp_path / "app", redis, WORKFLOWS, workers=3) as deployed:
        ids: list[str] = []

        def client() -> None:
            ids.extend(deployed.ask("counted", {"log": str(log)}).json()["task_id"] for _ in range(125))

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 1000
        eventually(lambda: deployed.stats()["total_success"] == 1000)
        assert Counter(log.read_text().split()) == Counter(ids)
        stats = deployed.stats()
        assert (stats["queue_size"], stats["current_processing"], stats["total_failed"]) == (0, 0, 0)
        assert len(deployed.api.get("/workflows/workers").json()["items"]) == 3
        assert [worker.stop() for worker in deployed.workers] == [0, 0, 0]


def test_the_answer_comes_at_once_and_the_task_goes_through_its_states(deployed: Cluster, gate: Gate) -> None:
    answer = deployed.submit("gated", {"gate": str(gate.path)})
    assert answer == {
        "task_id": answer["task_id"],
        "status": "queued",
        "message": answer["message"],
        "workflow_id": "gated",
        "queue": "workflow_execute",
        "priority": "normal",
        "ahead": 0,
    }
    with gate.held():
        task = deployed.until(answer["task_id"], "running")
        assert task["started_at"]
        eventually(lambda: _at_work(deployed) == [("busy", answer["task_id"], "hold")])
    task = deployed.until(answer["task_id"], "completed")
    assert task["max_retries"] == 3
    assert {name: task[name] for name in ("type", "workflow_id", "retry_count", "error", "queue", "priority")} == {
        "type": "workflow_execute",
        "workflow_id": "gated",
        "retry_count": 0,
        "error": None,
        "queue": "workflow_execute",
        "priority": "normal",
    }
    assert task["result"] == {
        "workflow_id": "gated",
        "status": "completed",
        "variables": {"gate": str(gate.path)},
        "outputs": {},
    }


def test_without_async_execute_it_runs_in_the_api_and_is_in_the_same_store(deployed: Cluster) -> None:
    answer = deployed.api.post("/workflows/hello/execute", {"variables": {"name": "Ada"}})
    assert answer.status_code == 200
    assert answer.json()["result"]["outputs"] == {"greeting": "Hello, Ada!"}
    assert "degraded" not in answer.json()
    assert deployed.task(answer.json()["task_id"])["status"] == "completed"
    assert deployed.redis.client().keys("rq:job:*") == []


def test_who_waits_for_the_pool_gets_the_end_of_the_task_also_if_a_worker_was_faster(
    tmp_path: Path, redis: RedisServer
) -> None:
    with (
        cluster(tmp_path / "app", redis, WORKFLOWS, INLINE_MAX_CONCURRENCY="1") as deployed,
        ThreadPoolExecutor() as callers,
    ):
        gates = [Gate(tmp_path / name) for name in ("first", "second")]

        def ask(gate: Gate) -> Future[httpx.Response]:
            return callers.submit(
                deployed.api.post, "/workflows/gated/execute", {"variables": {"gate": str(gate.path)}}
            )

        first = ask(gates[0])
        with ExitStack() as held:
            with gates[0].held():
                second = ask(gates[1])
                held.enter_context(gates[1].held())  # it was queued for seconds, so workers were rung for
            assert first.result().json()["status"] == "completed"
            deployed.api.post("/workflows/hello/execute")  # now the pool has had its turn with the second, too
        assert (second.result().status_code, second.result().json()["status"]) == (200, "completed")


def test_a_task_that_failed_is_tried_again_by_itself(deployed: Cluster, tmp_path: Path) -> None:
    task_id = deployed.submit("fails_once", {"flag": str(tmp_path / "flag")})["task_id"]
    assert deployed.until(task_id, "completed")["retry_count"] == 1


def test_what_is_not_retryable_goes_to_the_dead_letters_and_comes_back_on_demand(deployed: Cluster) -> None:
    ids = [deployed.submit("fails")["task_id"] for _ in range(3)]
    for task_id in ids:
        assert deployed.until(task_id, "failed")["retry_count"] == 0
    letters = deployed.api.get("/workflows/queue/dead-letters?queue=workflow_execute").json()["items"]
    assert [letter["task_id"] for letter in letters] == ids[::-1]
    assert deployed.stats()["queues"]["workflow_execute"]["dead_letters"] == 3
    one = deployed.api.post("/workflows/queue/dead-letters/discard", {"task_ids": ids[:1]})
    assert one.json() == {"tasks": 1}
    deployed.api.write("fails", HELLO)
    rest = deployed.api.post("/workflows/queue/dead-letters/requeue", {"queue": "workflow_execute"})
    assert rest.json() == {"tasks": 2}
    for task_id in ids[1:]:  # they run on the definition that they started with
        eventually(partial(deployed.tried_twice, task_id))
    assert deployed.task(ids[0])["status"] == "failed"


def test_priorities_decide_what_runs_first(tmp_path: Path, redis: RedisServer) -> None:
    log = tmp_path / "log"
    with cluster(tmp_path / "app", redis, WORKFLOWS, workers=0, MAX_WORKERS="1") as deployed:
        order = ["low", "normal", "urgent", "high", "critical", "low", "normal"]
        ids = [
            (deployed.submit("counted", {"log": str(log)}, priority=priority)["task_id"], priority)
            for priority in order
        ]
        assert deployed.stats()["queues"]["workflow_execute"]["by_priority"] == {
            "urgent": 2,
            "high": 1,
            "normal": 2,
            "low": 2,
        }
        deployed.worker()
        eventually(lambda: deployed.stats()["total_success"] == len(order))
        priority_of = dict(ids)
        ran = [priority_of[task_id] for task_id in log.read_text().split()]
        assert ran == ["urgent", "critical", "high", "normal", "normal", "low", "low"]


def test_a_paused_queue_starts_nothing_until_it_is_resumed(deployed: Cluster) -> None:
    assert deployed.api.post("/workflows/queue/workflow_execute/pause").json() == {
        "queue": "workflow_execute",
        "paused": True,
    }
    held = deployed.submit("hello")["task_id"]
    other = deployed.submit("hello", queue="chat_process")["task_id"]
    deployed.until(other, "completed")
    assert deployed.task(held)["status"] == "queued"
    deployed.api.post("/workflows/queue/workflow_execute/resume")
    deployed.until(held, "completed")


def test_a_queue_is_cleared_and_what_runs_goes_on(deployed: Cluster, gate: Gate) -> None:
    running = deployed.submit("gated", {"gate": str(gate.path)})["task_id"]
    with gate.held():
        deployed.api.post("/workflows/queue/workflow_execute/pause")
        queued = [deployed.submit("hello")["task_id"] for _ in range(5)]
        assert deployed.api.post("/workflows/queue/workflow_execute/clear").json() == {"tasks": 5}
        assert {deployed.task(task_id)["status"] for task_id in queued} == {"cancelled"}
    deployed.until(running, "completed")


def test_a_full_queue_refuses_with_retry_after(tmp_path: Path, redis: RedisServer) -> None:
    with cluster(tmp_path / "app", redis, WORKFLOWS, workers=0, QUEUE_MAX_SIZE="2") as deployed:
        for _ in range(2):
            deployed.submit("hello")
        answer = deployed.api.post("/workflows/hello/execute?async_execute=true")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        batch = deployed.api.post("/workflows/hello/execute/batch", {"items": [{}]})
        assert batch.status_code == 503
        assert deployed.stats()["queue_size"] == 2


def test_a_batch_is_queued_in_its_order(deployed: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    answer = deployed.api.post("/workflows/counted/execute/batch", {"items": [{"variables": {"log": str(log)}}] * 50})
    assert answer.status_code == 202
    ids = [item["task_id"] for item in answer.json()["items"]]
    eventually(lambda: deployed.stats()["total_success"] == 50)
    assert sorted(log.read_text().split()) == sorted(ids)


def test_a_delayed_task_is_pending_and_then_runs(deployed: Cluster) -> None:
    answer = deployed.submit("hello", delay="1s")
    assert answer["status"] == "pending"
    assert deployed.stats()["queues"]["workflow_execute"]["delayed"] == 1
    task = deployed.until(answer["task_id"], "completed")
    assert task["started_at"] > task["created_at"]


def test_the_same_idempotency_key_makes_one_task(deployed: Cluster) -> None:
    def ask(name: str) -> httpx.Response:
        return deployed.api.post(
            "/workflows/hello/execute?async_execute=true",
            {"variables": {"name": name}},
            headers={"Idempotency-Key": "k"},
        )

    first = ask("Ada").json()["task_id"]
    assert ask("Ada").json()["task_id"] == first
    assert ask("Bob").status_code == 409


def test_queued_tasks_are_cancelled_at_once_and_running_ones_only_by_force(deployed: Cluster, gate: Gate) -> None:
    running = deployed.submit("gated", {"gate": str(gate.path)})["task_id"]
    with gate.held():
        deployed.api.post("/workflows/queue/workflow_execute/pause")
        queued = deployed.submit("hello")["task_id"]
        answer = deployed.api.post(f"/workflows/tasks/{queued}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        refused = deployed.api.post(f"/workflows/tasks/{running}/cancel")
        assert (refused.status_code, refused.json()["task_status"]) == (409, "running")
        forced = deployed.api.post(f"/workflows/tasks/{running}/cancel?force=true")
        assert forced.status_code == 202
        deployed.until(running, "cancelled")
    assert gate.lines() == ["before"]


def _at_work(deployed: Cluster) -> list[tuple[str, str, str]]:
    """State, task and step of the work-horses that have a task."""
    workers = deployed.api.get("/workflows/workers").json()["items"]
    horses = [horse for worker in workers for horse in worker["horses"]]
    return [(horse["state"], horse["task_id"], horse["step"]) for horse in horses if horse["task_id"]]
