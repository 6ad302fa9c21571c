"""The queue of RQ workers and the feed of their work-horses, over a store in the same Redis and over one elsewhere."""

from __future__ import annotations

import threading
from dataclasses import replace
from queue import SimpleQueue

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.suspension import suspend
from tests.acceptance.serving import eventually
from tests.contract.building import ERROR, NOTHING, new
from tests.contract.rq_queue.bells import HORSE
from tests.contract.rq_queue.parts import Parts, waiting

from stepwell.redis_client import RedisClient
from stepwell.task import Status

PATIENCE = 20.0


# -- taking ------------------------------------------------------------------------------------------------------------


def test_tasks_are_taken_by_priority_then_first_in_first_out(parts: Parts) -> None:
    for name, priority in [("a", 1), ("b", 3), ("c", 0), ("d", 1), ("e", 2)]:
        parts.submit(name, priority=priority)
    assert parts.taken() == ["b", "e", "a", "d", "c"]


def test_a_claim_is_that_of_the_store(parts: Parts) -> None:
    parts.submit("a")
    claim = parts.take()
    assert (claim.task.status, claim.token, claim.task.worker) == (Status.RUNNING, "token", HORSE)
    assert parts.store.finish("a", "token", NOTHING, Status.COMPLETED, None, None).status is Status.COMPLETED


def test_no_queue_starves_beside_a_busy_one(parts: Parts) -> None:
    parts.submit(*(f"line-{number}" for number in range(6)))
    parts.submit("other-1", "other-2", queue="other")
    assert {"other-1", "other-2"} <= set(parts.taken(most=5))


def test_only_the_queues_that_are_served_are_taken_from(parts: Parts) -> None:
    parts.submit("a", queue="other")
    assert parts.taken(feed=parts.feed("line")) == []
    assert parts.taken(feed=parts.feed("other")) == ["a"]


def test_a_paused_queue_keeps_its_tasks(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    parts.store.pause("line")
    parts.submit("b", queue="other")
    assert parts.taken() == ["b"]
    assert waiting(redis) == ["a"]
    parts.store.resume("line")
    assert parts.taken() == ["a"]


def test_suspended_workers_take_nothing(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    suspend(redis)
    assert parts.taken() == []
    assert waiting(redis) == ["a"]


def test_a_cancelled_task_is_not_taken(parts: Parts) -> None:
    parts.submit("a", "b", "c")
    parts.cancel("b")
    assert parts.taken() == ["a", "c"]


def test_what_was_cancelled_elsewhere_is_skipped(parts: Parts, redis: Redis) -> None:
    parts.submit("a", "b")
    parts.cancel("a")
    redis.lpush("rq:queue:line", "a", "never-heard-of")
    assert parts.taken() == ["b"]


def test_a_duplicated_bell_runs_nothing_twice(parts: Parts, redis: Redis) -> None:
    (task,) = parts.submit("a")
    redis.rpush("rq:queue:line", "a", "a")
    claim = parts.take()
    assert parts.feed().take("other", "horse-2") is None
    assert parts.store.get("a").worker == HORSE
    ended = parts.store.finish("a", claim.token, NOTHING, Status.COMPLETED, None, None)
    parts.feed().ended(ended, claim.token)
    assert Job.fetch(task.task_id, redis, serializer="json").get_status() is JobStatus.FINISHED


def test_scripts_that_redis_forgot_are_sent_again(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    redis.script_flush()
    assert parts.taken() == ["a"]


# -- what becomes of a claim -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_an_ended_task_is_in_the_registry_of_rq(parts: Parts, redis: Redis, status: Status) -> None:
    parts.submit("a")
    claim = parts.take()
    assert StartedJobRegistry("line", redis).get_job_ids() == ["a"]
    error = ERROR if status is Status.FAILED else None
    parts.feed().ended(parts.store.finish("a", claim.token, NOTHING, status, None, error), claim.token)
    registry = FailedJobRegistry if status is Status.FAILED else FinishedJobRegistry
    assert registry("line", redis).get_job_ids() == ["a"]
    assert StartedJobRegistry("line", redis).get_job_ids() == []
    assert (Job.fetch("a", redis, serializer="json")._exc_info or "") == (error.message if error else "")


def test_a_task_that_waits_for_its_next_attempt_is_deferred_and_then_taken_again(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    claim = parts.take()
    parts.feed().ended(parts.store.back_off("a", claim.token, NOTHING, 0.01, ERROR), claim.token)
    assert Job.fetch("a", redis, serializer="json").get_status() is JobStatus.DEFERRED
    assert parts.taken() == []

    def woken() -> bool:
        for task in parts.store.wake():
            parts.queue.ring(task)
        return waiting(redis) == ["a"]

    eventually(woken)
    assert parts.taken() == ["a"]


def test_a_task_that_is_handed_back_is_taken_again(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    claim = parts.take()
    parts.feed().ended(parts.store.release("a", claim.token, NOTHING), claim.token)
    assert waiting(redis) == ["a"]
    assert StartedJobRegistry("line", redis).get_job_ids() == []
    assert parts.taken() == ["a"]


def test_what_a_lost_worker_ran_is_taken_again(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    parts.take()
    for task in parts.store.lose(HORSE):
        parts.queue.ring(task)
    assert StartedJobRegistry("line", redis).get_job_ids() == []
    assert parts.taken() == ["a"]


# -- bells that were lost ----------------------------------------------------------------------------------------------


def test_a_job_that_was_deleted_is_rung_for_again(parts: Parts, redis: Redis) -> None:
    tasks = parts.submit("a", "b")
    Job.fetch("a", redis, serializer="json").delete()
    assert sum(parts.queue.lengths().values()) == 1
    assert parts.queue.ring_again(tasks) == 1
    assert parts.taken() == ["a", "b"]


def test_a_bell_that_was_lost_between_pop_and_claim_is_rung_again(parts: Parts, redis: Redis) -> None:
    tasks = parts.submit("a")
    redis.lpop("rq:queue:line")
    assert parts.taken() == []
    assert parts.queue.ring_again(tasks) == 1
    assert parts.taken() == ["a"]


def test_nobody_is_rung_for_again_who_waits_or_runs(parts: Parts, redis: Redis) -> None:
    tasks = parts.submit("a", "b", "c")
    redis.hset(f"rq:worker:{HORSE}", "state", "idle")
    assert parts.taken(most=1) == ["a"]
    assert parts.queue.ring_again(tasks) == 0
    assert waiting(redis) == ["b", "c"]
    assert StartedJobRegistry("line", redis).get_job_ids() == ["a"]


def test_the_oldest_that_were_lost_come_first(parts: Parts, redis: Redis) -> None:
    tasks = parts.submit("a", "b", "c", "d")
    redis.delete("rq:queue:line")
    redis.rpush("rq:queue:line", *(f"stale-{number}" for number in range(10)), "d")
    assert parts.queue.ring_again(tasks) == 3
    assert waiting(redis)[:3] == ["a", "b", "c"]


def test_what_stands_far_behind_is_rung_for_once(parts: Parts, redis: Redis) -> None:
    tasks = parts.submit("a")
    redis.lpush("rq:queue:line", *range(5000))
    assert [parts.queue.ring_again(tasks) for _ in range(3)] == [1, 0, 0]


# -- waiting -----------------------------------------------------------------------------------------------------------


def idle(client: RedisClient) -> int:
    return int(client.do("INFO", "clients").decode().partition("blocked_clients:")[2].split()[0])


def test_an_idle_work_horse_returns_when_it_is_rung_for(parts: Parts, client: RedisClient) -> None:
    feed = parts.feed()
    waiter = threading.Thread(target=feed.wait, args=(PATIENCE,))
    waiter.start()
    eventually(lambda: idle(client) == 1)
    parts.submit("a", queue="other")
    waiter.join(PATIENCE / 2)
    assert not waiter.is_alive()
    assert parts.taken(feed=feed) == ["a"]


def test_one_bell_wakes_one_of_many(parts: Parts, client: RedisClient) -> None:
    awake: SimpleQueue[int] = SimpleQueue()

    def wait(number: int) -> None:
        parts.feed().wait(PATIENCE)
        awake.put(number)

    waiters = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    for waiter in waiters:
        waiter.start()
    eventually(lambda: idle(client) == 3)
    for left in (2, 1, 0):
        parts.submit(f"task-{left}")
        awake.get(timeout=PATIENCE)
        assert idle(client) == left
    for waiter in waiters:
        waiter.join()


def test_a_hint_for_what_another_took_delays_nobody(parts: Parts, redis: Redis) -> None:
    parts.submit("a")
    assert parts.taken() == ["a"]
    assert not redis.exists("stepwell:wake:line")


def test_whoever_rings_again_wakes_one_though_all_bells_are_there(parts: Parts, redis: Redis) -> None:
    tasks = parts.submit("a")
    redis.delete("stepwell:wake:line")
    assert parts.queue.ring_again(tasks) == 0
    assert redis.llen("stepwell:wake:line") == 1


def test_waiting_ends_in_time(parts: Parts) -> None:
    parts.feed().wait(0.01)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_lengths_are_told_by_queue_and_priority(parts: Parts) -> None:
    parts.submit("a", "b", priority=3)
    parts.submit("c", queue="other", priority=0)
    parts.submit("d", queue="elsewhere")
    found = {line: length for line, length in parts.queue.lengths().items() if length}
    assert found == {("line", 3): 2, ("other", 0): 1, ("elsewhere", 1): 1}


def test_ahead_are_those_that_start_before_it(parts: Parts) -> None:
    order = [("a", 1), ("b", 1), ("c", 2), ("d", 1), ("e", 0)]
    tasks = {name: parts.submit(name, priority=priority)[0] for name, priority in order}
    parts.submit("x", priority=3, queue="other")
    assert {name: parts.queue.ahead(task) for name, task in tasks.items()} == {"c": 0, "a": 1, "b": 2, "d": 3, "e": 4}
    assert parts.taken(most=3)[-1] == "a"
    assert parts.queue.ahead(tasks["a"]) == parts.queue.ahead(tasks["b"]) == 0
    assert parts.queue.ahead(replace(tasks["b"], status=Status.RUNNING)) == 0


def test_far_from_both_ends_of_a_line_the_place_is_estimated(parts: Parts, redis: Redis) -> None:
    made = [f"018bcfe5-{number:04x}-7000-8000-000000000000" for number in range(10_000)]
    (task,) = parts.submit(made[3000])
    redis.delete("rq:queue:line")
    redis.rpush("rq:queue:line", *made)
    assert 2900 < parts.queue.ahead(task) < 3100
    assert parts.queue.ahead(replace(task, task_id=made[9])) == 9
    assert parts.queue.ahead(replace(task, task_id=made[-9])) == 9991
    redis.lpush("rq:queue:line", "a-job-of-somebody-else")
    assert parts.queue.ahead(task) == 5000


def test_busyness_is_told_by_the_names_of_the_api(parts: Parts) -> None:
    parts.submit("a", "b", "c")
    parts.submit("d", queue="other", priority=2)
    parts.taken(most=1)
    expected = {"current_processing": 1, "queue_size": 3, "max_workers": 0, "max_queue_size": 100, "is_running": False}
    assert parts.queue.stats() == expected


def test_there_is_always_room_since_the_store_refuses(parts: Parts) -> None:
    with parts.queue.room(1_000_000) as room:
        room.ring(parts.store.create(new("a"))[0])
    assert parts.taken() == ["a"]
