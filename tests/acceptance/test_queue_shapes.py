"""The answers of a deployment with a queue, field by field: what users of the API rely on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.cluster import TASKS, Cluster, cluster
from tests.acceptance.serving import HELLO, eventually
from tests.servers import RedisServer

PROGRESS = {
    "status": "completed",
    "stage": None,
    "progress_percent": 100.0,
    "message": None,
    "filename": None,
    "current_bytes": 0,
    "total_bytes": 0,
    "speed": 0.0,
    "eta_seconds": 0.0,
    "error": None,
}
HELLO_TASK = {
    "type": "chat_process",
    "workflow_id": "hello",
    "status": "completed",
    "result": {
        "workflow_id": "hello",
        "status": "completed",
        "variables": {"name": "Ada"},
        "outputs": {"greeting": "Hello, Ada!"},
    },
    "error": None,
    "retry_count": 0,
    "max_retries": 3,
    "queue": "chat_process",
    "priority": "high",
    "external_id": "order-7",
    "labels": {"team": "shop"},
    "progress": PROGRESS,
}
TIMES = {"created_at", "started_at", "completed_at", "updated_at"}
TASK = HELLO_TASK.keys() | TIMES | {"task_id"}
ACCEPTED = {"task_id", "status", "message", "workflow_id", "queue", "priority", "ahead"}
STATUS = {"task_id", "state", "progress", "estimated_time", "error_details", "updated_at"}
ERROR = {"code", "message", "step", "path", "attempt", "retryable", "status"}
QUEUE = {
    "queue_length",
    "running",
    "delayed",
    "waiting",
    "dead_letters",
    "by_priority",
    "oldest_seconds",
    "paused",
    "ended_per_minute",
    "failure_rate",
    "total_created",
    "total_completed",
    "total_failed",
    "total_timeout",
    "total_cancelled",
    "total_retried",
}
STATISTICS = {
    "enabled",
    "queues",
    "total_published",
    "total_processed",
    "total_success",
    "total_failed",
    "total_timeout",
    "total_retried",
    "dead_letters",
    "current_processing",
    "queue_size",
    "max_workers",
    "max_queue_size",
    "is_running",
}
WORKER = {"name", "host", "pid", "state", "queues", "started_at", "heartbeat_at", "horses"}
HORSE = {"name", "pid", "state", "since", "task_id", "step"}
PROBLEM = {"type", "title", "status", "detail", "instance"}
FAILS = "steps: [{id: a, uses: fail, with: {message: no, retryable: false}}]"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("shapes")
    workflows = {"hello": HELLO, "fails": FAILS}
    with RedisServer(folder / "redis") as redis, cluster(folder / "app", redis, workflows) as made:
        yield made


@pytest.fixture
def without_redis(deployed: Cluster) -> Iterator[None]:
    deployed.redis.stop()
    yield
    deployed.redis.start()
    eventually(lambda: deployed.api.get("/health").json()["degraded"] is None)


def test_a_task_from_its_acceptance_to_its_end(deployed: Cluster) -> None:
    accepted = deployed.submit(
        "hello", {"name": "Ada"}, queue="chat_process", priority=2, external_id="order-7", labels={"team": "shop"}
    )
    assert accepted.keys() == ACCEPTED
    assert {name: accepted[name] for name in ("status", "workflow_id", "queue", "priority")} == {
        "status": "queued",
        "workflow_id": "hello",
        "queue": "chat_process",
        "priority": "high",
    }
    task = deployed.until(accepted["task_id"], "completed")
    assert task == {"task_id": accepted["task_id"], **{name: task[name] for name in TIMES}, **HELLO_TASK}
    assert task["created_at"] <= task["started_at"] <= task["completed_at"] <= task["updated_at"]
    path = f"{TASKS}/{task['task_id']}"
    assert deployed.api.get(f"{path}/progress").json() == PROGRESS
    assert deployed.api.get(f"{path}/status").json() == {
        "task_id": task["task_id"],
        "state": "completed",
        "progress": 100.0,
        "estimated_time": None,
        "error_details": None,
        "updated_at": task["updated_at"],
    }
    (listed,) = deployed.api.get(f"{TASKS}?external_id=order-7").json()["items"]
    assert listed == {name: value for name, value in task.items() if name != "result"}


def test_a_task_that_starts_later_and_is_cancelled(deployed: Cluster) -> None:
    accepted = deployed.submit("hello", delay="1h")
    assert accepted.keys() == ACCEPTED
    assert (accepted["status"], accepted["ahead"]) == ("pending", 0)
    task = deployed.task(accepted["task_id"])
    assert task.keys() == TASK | {"wake_at"}
    assert (task["started_at"], task["completed_at"], task["result"]) == (None, None, None)
    assert (task["progress"]["status"], task["progress"]["progress_percent"]) == ("pending", 0.0)
    status = deployed.api.get(f"{TASKS}/{task['task_id']}/status").json()
    assert (status.keys(), status["state"], status["progress"]) == (STATUS, "pending", 0.0)
    for _ in range(2):  # a repeat changes nothing
        cancelled = deployed.api.post(f"{TASKS}/{task['task_id']}/cancel")
        assert (cancelled.status_code, cancelled.json().keys()) == (200, TASK)
        assert cancelled.json()["result"]["status"] == "cancelled"


def test_a_task_that_failed_is_a_dead_letter_and_cannot_be_cancelled(deployed: Cluster) -> None:
    task = deployed.until(deployed.submit("fails")["task_id"], "failed")
    assert task.keys() == TASK
    assert task["error"].keys() == ERROR
    assert (task["error"]["code"], task["error"]["step"], task["progress"]["error"]) == ("step_failed", "a", "no")
    letters = deployed.api.get("/workflows/queue/dead-letters").json()
    assert letters.keys() == {"items", "next_cursor"}
    assert letters["items"][0].keys() == TASK - {"result"}
    refused = deployed.api.post(f"{TASKS}/{task['task_id']}/cancel")
    assert (refused.status_code, refused.json().keys()) == (409, PROBLEM | {"task_status"})
    assert (refused.json()["status"], refused.json()["task_status"]) == (409, "failed")
    requeued = deployed.api.post("/workflows/queue/dead-letters/requeue", {"task_ids": [task["task_id"]]})
    assert (requeued.status_code, requeued.json()) == (200, {"tasks": 1})


def test_what_runs_inline_answers_the_task_and_a_message(deployed: Cluster) -> None:
    answer = deployed.api.post("/workflows/hello/execute")
    assert (answer.status_code, answer.json().keys()) == (200, TASK | {"message"})
    assert (answer.json()["status"], answer.json()["max_retries"]) == ("completed", 0)


def test_a_batch(deployed: Cluster) -> None:
    answer = deployed.api.post("/workflows/hello/execute/batch", {"items": [{}, {"priority": "low"}]})
    assert (answer.status_code, answer.json().keys()) == (202, {"items"})
    assert [item.keys() for item in answer.json()["items"]] == [ACCEPTED] * 2
    assert [item["priority"] for item in answer.json()["items"]] == ["normal", "low"]


def test_statistics(deployed: Cluster) -> None:
    deployed.until(deployed.submit("hello", queue="knowledge_search")["task_id"], "completed")
    stats = eventually(lambda: _running(deployed))
    assert stats.keys() == STATISTICS
    assert set(stats["queues"]) == {"workflow_execute", "chat_process", "knowledge_search"}
    for queue in stats["queues"].values():
        assert queue.keys() == QUEUE
        assert queue["by_priority"].keys() == {"urgent", "high", "normal", "low"}
    searched = stats["queues"]["knowledge_search"]
    assert (searched["total_created"], searched["total_completed"], searched["queue_length"]) == (1, 1, 0)
    assert (searched["oldest_seconds"], searched["paused"]) == (None, False)
    assert {name: stats[name] for name in ("enabled", "max_workers", "max_queue_size", "queue_size")} == {
        "enabled": True,
        "max_workers": 2,
        "max_queue_size": 100_000,
        "queue_size": 0,
    }
    assert stats["total_processed"] >= stats["total_success"] + stats["total_failed"]
    assert deployed.api.get("/queue/stats").json().keys() == STATISTICS
    assert deployed.api.client.get("/queue/stats").json().keys() == STATISTICS  # without the prefix, too


def test_workers(deployed: Cluster) -> None:
    found = eventually(lambda: deployed.api.get("/workflows/workers").json()["items"])
    assert [worker.keys() for worker in found] == [WORKER]
    assert (found[0]["state"], set(found[0]["queues"])) == (
        "running",
        {"workflow_execute", "chat_process", "knowledge_search"},
    )
    assert [horse.keys() for horse in found[0]["horses"]] == [HORSE] * 2
    assert {horse["state"] for horse in found[0]["horses"]} <= {"idle", "busy"}


def test_health_and_readiness(deployed: Cluster) -> None:
    health = deployed.api.get("/health").json()
    assert health == {"status": "ok", "version": health["version"], "degraded": None}
    assert deployed.api.get("/ready").json() == {"status": "ready"}


@pytest.mark.usefixtures("without_redis")
def test_without_redis_every_answer_says_what_it_is(deployed: Cluster) -> None:
    inline = deployed.api.post("/workflows/hello/execute?async_execute=true")
    assert (inline.status_code, inline.json().keys()) == (200, TASK | {"message", "degraded", "reason"})
    batch = deployed.api.post("/workflows/hello/execute/batch", {"items": [{}, {}]})
    assert batch.status_code == 202
    for item in batch.json()["items"]:
        assert item.keys() == ACCEPTED | {"degraded", "reason"}
        assert item["degraded"] is True
        assert "Redis" in item["reason"]
    health = deployed.api.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert health.json()["degraded"]
    assert deployed.api.get("/ready").status_code == 200


@pytest.mark.usefixtures("without_redis")
def test_statistics_that_cannot_be_told_are_no_numbers_and_tell_no_address(deployed: Cluster) -> None:
    for path in ("/workflows/queue/stats", "/queue/stats"):
        refused = deployed.api.get(path)
        assert (refused.status_code, refused.json().keys()) == (503, PROBLEM)
        assert "retry-after" in refused.headers
        assert str(deployed.redis.port) not in refused.text


def _running(deployed: Cluster) -> dict[str, Any] | None:
    """The statistics once nothing is queued and the worker is known, with all of its work-horses."""
    stats = deployed.stats()
    return (
        stats
        if stats["is_running"] and stats["max_workers"] == 2 and not stats["queue_size"] + stats["current_processing"]
        else None
    )
