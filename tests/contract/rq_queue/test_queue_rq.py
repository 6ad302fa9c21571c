"""The queue of RQ workers and the feed of their work-horses, over a store in the same Redis and over one elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from redis import Redis
from rq import Queue as RqLine
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.suspension import suspend
from tests.acceptance.serving import eventually
from tests.contract.building import ERROR, NOTHING, new
from tests.contract.rq_queue.bells import HORSE, RESULT_TTL
from tests.servers import RedisServer

from stepwell.errors import NotDelivered
from stepwell.ports import Claim, Feed, TaskStore
from stepwell.queues.rq import RqFeed, RqQueue, RqSqlFeed, RqSqlQueue, bell
from stepwell.redis_client import RedisClient, Script
from stepwell.stores.redis import RedisStore
from stepwell.stores.sql import SqlStore
from stepwell.task import Status, Task

QUEUES = ("line", "other")
PATIENCE = 20.0


@dataclass
class Parts:
    """A store with its queue, and feeds for work-horses."""

    store: TaskStore
    queue: RqQueue
    feed: Callable[..., Feed]

    def submit(self, *task_ids: str, priority: int = 1, queue: str = "line", **changes: Any) -> list[Task]:
        """As the service does."""
        tasks = []
        for task_id in task_ids:
            task, _ = self.store.create(new(task_id, priority=priority, queue=queue, **changes))
            self.queue.ring(task)
            tasks.append(task)
        return tasks

    def taken(self, most: int = 100, feed: Feed | None = None) -> list[str]:
        """The ids of the tasks that a work-horse gets, one after the other."""
        feed = feed or self.feed()
        claims = iter(lambda: feed.take(f"token-{time.monotonic_ns()}", HORSE), None)
        return [claim.task.task_id for _, claim in zip(range(most), claims, strict=False)]

    def take(self) -> Claim:
        claim = self.feed().take("token", HORSE)
        assert claim is not None
        return claim

    def cancel(self, task_id: str) -> None:
        """As the service does."""
        self.store.cancel(task_id)
        self.queue.remove(task_id)


@pytest.fixture(params=["redis", "sqlite"])
def parts(request: pytest.FixtureRequest, client: RedisClient, tmp_path: Path) -> Iterator[Parts]:
    if request.param == "redis":
        store = RedisStore(client, bell=bell("stepwell", RESULT_TTL))
        queue = RqQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)
        yield Parts(store, queue, lambda *queues: RqFeed(client, store, queues or QUEUES))
        return
    sql = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    sql_queue = RqSqlQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)
    yield Parts(sql, sql_queue, lambda *queues: RqSqlFeed(client, sql, queues or QUEUES, result_ttl=RESULT_TTL))
    sql.close()


def waiting(redis: Redis, line: str = "line") -> list[str]:
    return RqLine(line, redis).job_ids


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
    parts.feed().ended(parts.store.suspend("a", claim.token, NOTHING, 0.01, ERROR), claim.token)
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


# -- over a store elsewhere --------------------------------------------------------------------------------------------


@pytest.fixture
def sql(client: RedisClient, tmp_path: Path) -> Iterator[Parts]:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    queue = RqSqlQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)
    yield Parts(store, queue, lambda: RqSqlFeed(client, store, QUEUES, result_ttl=RESULT_TTL))
    store.close()


def test_jobs_expire_as_nobody_tells_when_their_records_are_purged(sql: Parts, redis: Redis) -> None:
    sql.submit("a", "b", "c")
    sql.cancel("c")
    for task_id, status in [("a", Status.COMPLETED), ("b", Status.FAILED)]:
        claim = sql.take()
        sql.feed().ended(sql.store.finish(task_id, claim.token, NOTHING, status, None, None), claim.token)
    assert all(RESULT_TTL - 60 < redis.ttl(f"rq:job:{task_id}") <= RESULT_TTL for task_id in "abc")


def test_a_second_bell_for_one_that_waits_does_nothing(sql: Parts, redis: Redis) -> None:
    (task,) = sql.submit("a")
    sql.queue.ring(task)
    assert waiting(redis) == ["a"]


def test_a_bell_for_what_was_taken_elsewhere_meanwhile_rings_again(sql: Parts, redis: Redis) -> None:
    sql.submit("a")
    assert sql.store.claim("a", "inline", "server") is not None
    assert sql.taken() == []
    sql.queue.ring(sql.store.release("a", "inline", NOTHING))
    assert sql.taken() == ["a"]


class Broken(RedisClient):
    """A client whose `lost` scripts do not arrive."""

    lost: Sequence[Script] = ()

    def run(self, script: Script, args: Sequence[Any], keys: Sequence[str] = ()) -> Any:
        if script in self.lost:
            raise NotDelivered("it cannot be reached")
        return super().run(script, args, keys)


def test_a_claim_stands_though_rq_was_not_told(redis_server: RedisServer, sql: Parts, redis: Redis) -> None:
    client = Broken(redis_server.url)
    feed = RqSqlFeed(client, sql.store, QUEUES, result_ttl=RESULT_TTL)
    client.lost = [feed._scripts.started]
    sql.submit("a")
    assert feed.take("token", HORSE) is not None
    feed.ended(sql.store.finish("a", "token", NOTHING, Status.COMPLETED, None, None), "token")
    assert FinishedJobRegistry("line", redis).get_job_ids() == ["a"]
    client.close()


def test_what_a_dead_worker_left_in_registries_goes(sql: Parts, redis: Redis) -> None:
    sql.submit("a", "b")
    redis.hset("rq:worker:alive", "state", "idle")
    assert sql.feed().take("1", "dead") is not None
    assert sql.feed().take("2", "alive") is not None
    sql.queue.lengths()
    assert StartedJobRegistry("line", redis).get_job_ids() == ["b"]
    assert 0 < redis.ttl("rq:job:a") <= RESULT_TTL
