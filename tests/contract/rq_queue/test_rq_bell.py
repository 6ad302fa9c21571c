"""The bell keeps RQ's keys true: every state of a task as RQ's own classes read it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.registry import (
    BaseRegistry,
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    StartedJobRegistry,
)
from rq.suspension import resume, suspend
from tests.contract.rq_queue.bells import HORSE, IDS, QUEUE, RESULT_TTL, Bell

from stepwell.redis_client import RedisClient, Script

REGISTRIES: dict[str, type[BaseRegistry]] = {
    "started": StartedJobRegistry,
    "finished": FinishedJobRegistry,
    "failed": FailedJobRegistry,
    "canceled": CanceledJobRegistry,
    "deferred": DeferredJobRegistry,
}
BECAME = {"completed": "finished", "failed": "failed", "cancelled": "canceled", "waiting": "deferred"}
TASK = IDS[0]


def fetched(redis: Redis, task_id: str = TASK) -> Job:
    return Job.fetch(task_id, redis, serializer="json")


def registered(redis: Redis) -> dict[str, list[str]]:
    """The registries in which there is a job, after RQ's own clean-up."""
    found = {name: registry(QUEUE, connection=redis).get_job_ids() for name, registry in REGISTRIES.items()}
    return {name: ids for name, ids in found.items() if ids}


def test_a_queued_task_is_a_job_that_rq_can_read_and_run(bell: Bell, redis: Redis) -> None:
    bell.ring(TASK)
    job = fetched(redis)
    assert (job.func_name, job.args, job.kwargs) == ("stepwell.worker.run_task", [], {})
    assert (job.get_status(), job.origin, job.timeout) == (JobStatus.QUEUED, QUEUE, -1)
    assert job.result_ttl == job.failure_ttl == RESULT_TTL
    assert job.retries_left == 3
    assert job.enqueued_at is not None
    assert abs((job.enqueued_at - datetime.now(UTC)).total_seconds()) < 60
    assert Queue(QUEUE, redis, serializer="json").get_jobs() == [job]
    assert [queue.name for queue in Queue.all(redis)] == [QUEUE]
    assert redis.ttl(job.key) == -1


@pytest.mark.parametrize(
    "moment",
    [
        "1970-01-01T00:00:00.000000Z",
        "2000-12-31T12:30:00.250000Z",
        "2024-02-29T23:59:59.500000Z",
        "2025-03-01T00:00:00.000000Z",
        "2026-10-10T10:10:10.125000Z",
        "2100-03-01T01:02:03.000000Z",
    ],
)
def test_times_are_those_of_rq(bell: Bell, client: RedisClient, redis: Redis, moment: str) -> None:
    seconds = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    client.run(Script(f"{bell.text} bell.ring(ARGV[1], 'q', 1, tonumber(ARGV[2]))"), [TASK, seconds])
    assert redis.hget(f"rq:job:{TASK}", "created_at") == moment.encode()


def test_each_priority_is_a_queue_of_rq(bell: Bell, redis: Redis) -> None:
    for priority in range(4):
        bell.ring(IDS[priority], priority)
    lines = {queue.name: queue.job_ids for queue in Queue.all(redis)}
    names = [f"{QUEUE}:low", QUEUE, f"{QUEUE}:high", f"{QUEUE}:urgent"]
    assert lines == {name: [IDS[priority]] for priority, name in enumerate(names)}


@pytest.mark.parametrize("redis_6", [False, True])
def test_ids_are_popped_by_priority_then_queue_then_age(bell: Bell, redis_6: bool) -> None:
    if redis_6:
        bell.text = bell.text.replace("redis.REDIS_VERSION_NUM", "nil")
    for task_id, priority, queue in zip(IDS, [1, 1, 3, 0, 3, 1], ["a", "b", "b", "a", "a", "a"], strict=False):
        bell.ring(task_id, priority, queue)
    popped = bell.next("a", "b")
    assert [IDS.index(task_id) for task_id in popped] == [4, 2, 0, 5, 1, 3]


def test_other_queues_are_not_popped(bell: Bell) -> None:
    bell.ring(TASK, queue="a")
    assert bell.next("b") == []
    assert bell.next("b", "a") == [TASK]


def test_rq_suspend_holds_back_all_tasks(bell: Bell, redis: Redis) -> None:
    bell.ring(TASK)
    suspend(redis)
    assert bell.next() == []
    resume(redis)
    assert bell.next() == [TASK]


def test_a_running_task_is_an_execution_of_its_work_horse(bell: Bell, redis: Redis, horse: None) -> None:
    bell.bring(TASK, "running")
    job = fetched(redis)
    assert (job.get_status(), job.worker_name) == (JobStatus.STARTED, HORSE)
    assert job.started_at is not None
    (worker,) = Worker.all(redis)
    assert (worker.get_state(), worker.get_current_job_id()) == ("busy", TASK)
    (execution,) = worker.get_current_executions()
    assert (execution.worker_name, execution.job_id) == (HORSE, TASK)
    assert registered(redis) == {"started": [TASK]}


def test_clean_up_never_takes_a_running_task_for_abandoned(bell: Bell, redis: Redis) -> None:
    bell.bring(TASK, "running")
    registry = StartedJobRegistry(QUEUE, connection=redis)
    registry.cleanup(timestamp=time.time() + 10 * 365 * 86400)
    assert registry.get_job_ids() == [TASK]
    assert fetched(redis).get_status() is JobStatus.STARTED


@pytest.mark.parametrize("status", BECAME)
def test_an_ended_claim_leaves_the_job_in_its_registry_alone(
    bell: Bell, redis: Redis, horse: None, status: str
) -> None:
    bell.bring(TASK, status)
    assert registered(redis) == {BECAME[status]: [TASK]}
    assert fetched(redis).get_status() == BECAME[status]
    (worker,) = Worker.all(redis)
    assert (worker.get_state(), worker.get_current_job_id()) == ("idle", None)
    assert (worker.successful_job_count, worker.failed_job_count) == (status == "completed", status == "failed")
    assert not list(redis.scan_iter("rq:execution*"))


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_ended_job_leaves_its_registry_in_time(bell: Bell, redis: Redis, status: str) -> None:
    bell.bring(TASK, status)
    registry = REGISTRIES[BECAME[status]](QUEUE, connection=redis)
    left = registry.get_expiration_time(fetched(redis)) - datetime.now(UTC)
    assert RESULT_TTL - 60 < left.total_seconds() <= RESULT_TTL


@pytest.mark.parametrize("message", ["no disk", "", "é" * 3000, "x" * 999 + "é", "y" * 999 + "😀" * 9, "a\0b"])
def test_rq_tells_why_a_task_failed(bell: Bell, redis: Redis, message: str) -> None:
    bell.bring(TASK, "running")
    bell.ended(TASK, "failed", message)
    told = fetched(redis)._exc_info or ""
    assert message.startswith(told)
    assert len(told) >= min(len(message), 490)


@pytest.mark.parametrize("status", [*BECAME, "running", "queued"])
def test_a_task_that_is_rung_for_again_is_queued_and_nothing_else(
    bell: Bell, redis: Redis, horse: None, status: str
) -> None:
    bell.bring(TASK, status)
    if status in BECAME:
        redis.expire(f"rq:job:{TASK}", 60)  # as RQ's own worker does
    bell.ring(TASK)
    assert registered(redis) == {}
    job = fetched(redis)
    assert (job.get_status(), job.ended_at, job._exc_info, redis.ttl(job.key)) == (JobStatus.QUEUED, None, None, -1)
    assert set(Queue(QUEUE, redis).job_ids) == {TASK}
    assert not list(redis.scan_iter("rq:execution*"))


@pytest.mark.parametrize("status", ["queued", "waiting"])
def test_a_task_that_is_cancelled_before_it_runs_is_a_canceled_job(bell: Bell, redis: Redis, status: str) -> None:
    bell.bring(TASK, status)
    bell.removed(TASK)
    assert registered(redis) == {"canceled": [TASK]}
    assert Queue(QUEUE, redis).job_ids == []


def test_a_task_that_was_never_rung_for_leaves_nothing_when_it_is_cancelled(bell: Bell, redis: Redis) -> None:
    bell.removed(TASK)
    assert redis.keys() == []


def test_canceled_jobs_leave_their_registry_in_time(bell: Bell, redis: Redis) -> None:
    registry = CanceledJobRegistry(QUEUE, connection=redis)
    redis.zadd(registry.key, {"long ago": time.time() - 1})
    bell.ring(TASK)
    bell.removed(TASK)
    assert registry.get_job_ids() == [TASK]


@pytest.mark.parametrize(("at", "stays"), [(10, False), (-10, False), (2000, True)])
def test_a_cancelled_task_leaves_a_long_line_if_it_stands_near_an_end(
    bell: Bell, redis: Redis, at: int, stays: bool
) -> None:
    others = [f"other-{number}" for number in range(4000)]
    bell.ring(TASK)
    redis.delete(f"rq:queue:{QUEUE}")
    others.insert(at, TASK)
    redis.rpush(f"rq:queue:{QUEUE}", *others)
    bell.removed(TASK)
    assert (TASK in Queue(QUEUE, redis).job_ids) is stays
    assert fetched(redis).get_status() is JobStatus.CANCELED


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "waiting"])
def test_nothing_is_left_of_a_forgotten_task(bell: Bell, redis: Redis, status: str) -> None:
    bell.bring(TASK, status)
    redis.xadd(f"rq:results:{TASK}", {"type": 1})
    bell.forgotten(TASK)
    assert set(redis.keys()) <= {b"rq:queues", b"stepwell:wake:workflow_execute"}


def test_a_claim_that_began_elsewhere_is_left_to_its_own_book_keeping(bell: Bell, redis: Redis) -> None:
    bell.ring(TASK)
    assert bell.next() == [TASK]
    job = fetched(redis)
    with redis.pipeline() as pipeline:  # as RQ's own worker does
        Execution.create(job, 90, pipeline, "stock")
        job.prepare_for_execution("stock", pipeline)
        pipeline.execute()
    before = redis.hgetall(job.key), registered(redis)
    for status in [*BECAME, "queued"]:
        bell.ended(TASK, status, worker="stock")
    assert (redis.hgetall(job.key), registered(redis)) == before


@pytest.mark.parametrize("moment", ["queued", "running"])
def test_a_job_that_was_deleted_behind_our_back_is_never_half_a_job(bell: Bell, redis: Redis, moment: str) -> None:
    bell.ring(TASK)
    if moment == "queued":
        redis.delete(f"rq:job:{TASK}")
    assert bell.next() == [TASK]
    bell.started(TASK)
    assert fetched(redis).get_status() is JobStatus.STARTED
    if moment == "running":
        redis.delete(f"rq:job:{TASK}")
    bell.ended(TASK, "completed")
    job_is_left = redis.exists(f"rq:job:{TASK}") == 1
    assert job_is_left == (moment == "queued") == bool(registered(redis))


def test_a_work_horse_that_rq_does_not_know_is_not_brought_to_life(bell: Bell, redis: Redis) -> None:
    bell.bring(TASK, "running")
    assert not redis.exists(f"rq:worker:{HORSE}")
    bell.ended(TASK, "completed")
    assert not redis.exists(f"rq:worker:{HORSE}")


def test_each_bell_wakes_one_and_what_nobody_needs_is_forgotten(bell: Bell, redis: Redis) -> None:
    hints = f"stepwell:wake:{QUEUE}"
    for task_id in IDS[:3]:
        bell.ring(task_id)
    assert redis.llen(hints) == 3
    assert 0 < redis.ttl(hints) <= 60
    assert len(bell.next(most=3)) == 3
    assert redis.llen(hints) == 3
    assert bell.next() == []
    assert not redis.exists(hints)


def test_hints_are_bounded(bell: Bell, client: RedisClient, redis: Redis) -> None:
    ring = Script(f"{bell.text} for id = 1, 2000 do bell.ring('t' .. id, '{QUEUE}', 1, 1) end")
    client.run(ring, [])
    assert redis.llen(f"stepwell:wake:{QUEUE}") == 1000


def test_one_call_pops_so_many_and_lets_others_go_on(bell: Bell, redis: Redis) -> None:
    redis.rpush(f"rq:queue:{QUEUE}", *range(2000))
    redis.delete(f"stepwell:wake:{QUEUE}")
    assert len(bell.next(most=2000)) == 500
    assert redis.llen(f"stepwell:wake:{QUEUE}") == 1


def test_a_namespace_has_keys_of_its_own(client: RedisClient, redis: Redis) -> None:
    bell = Bell(client, namespace="shop")
    bell.bring(TASK, "running")
    assert [key for key in redis.scan_iter() if not key.startswith((b"shop:rq:", b"shop:wake:"))] == []


def test_a_small_job_stays_small(bell: Bell, redis: Redis) -> None:
    sizes: dict[str, Any] = {}
    for status in ("queued", "completed"):
        bell.bring(TASK, status)
        sizes[status] = redis.memory_usage(f"rq:job:{TASK}")
        assert redis.object("ENCODING", f"rq:job:{TASK}") == b"listpack"
        redis.flushall()
    assert sizes["queued"] <= 512
    assert sizes["completed"] <= 640


def test_taking_and_ending_a_task_is_few_commands(bell: Bell, redis: Redis, horse: None) -> None:
    bell.ring(TASK)
    redis.config_resetstat()
    bell.next("a", "b", QUEUE, most=1)
    bell.started(TASK)
    bell.ended(TASK, "completed")
    scripts = {"eval", "evalsha", "config|resetstat"}
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in redis.info("commandstats").items()}
    assert sum(count for name, count in calls.items() if name not in scripts) == 14
