"""Workers and their work-horses, as RQ's own classes and our statistics see them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.suspension import resume, suspend
from rq.worker_registration import clean_worker_registry
from tests.contract.rq_queue.bells import IDS, QUEUE, RESULT_TTL, Bell

from stepwell.errors import SettingsError
from stepwell.ports import HorseView, WorkerView
from stepwell.queues.rq import Presence, RqQueue, export_prefix, lines
from stepwell.redis_client import RedisClient

QUEUES = (QUEUE, "other")


def horse(number: int) -> HorseView:
    return HorseView(f"host.{number}.beef", number, "idle", time.time())


def worker(*numbers: int, name: str = "host.1.cafe") -> WorkerView:
    now = time.time()
    return WorkerView(name, "host", 1, "running", QUEUES, now, now, tuple(map(horse, numbers)))


def states(redis: Redis) -> dict[str, str]:
    return {one.name: one.get_state() for one in Worker.all(redis)}


@pytest.fixture
def presence(client: RedisClient) -> Presence:
    return Presence(client, QUEUES)


@pytest.fixture
def queue(client: RedisClient) -> RqQueue:
    return RqQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)


def test_each_work_horse_is_a_worker_of_rq(presence: Presence, redis: Redis) -> None:
    presence.beat(worker(2, 3))
    found = sorted(Worker.all(redis), key=lambda one: one.name)
    assert [(one.name, one.pid, one.hostname) for one in found] == [
        ("host.2.beef", 2, "host"),
        ("host.3.beef", 3, "host"),
    ]
    assert found[0].queue_names() == lines(QUEUES)
    assert found[0].birth_date is not None
    assert found[0].last_heartbeat is not None
    assert Worker.count(queue=Queue("other:high", redis)) == 2


def test_names_of_queues_are_told_in_the_order_in_which_they_are_worked_off() -> None:
    assert lines(["a", "b"]) == ["a:urgent", "b:urgent", "a:high", "b:high", "a", "b", "a:low", "b:low"]


def test_one_that_ended_is_gone_at_the_next_beat(presence: Presence, redis: Redis) -> None:
    presence.beat(worker(2, 3))
    presence.beat(worker(3, 4))
    assert states(redis) == {"host.3.beef": "idle", "host.4.beef": "idle"}
    assert Worker.count(queue=Queue(QUEUE, redis)) == 2


def test_the_state_is_that_of_the_registries(presence: Presence, redis: Redis, bell: Bell) -> None:
    presence.beat(worker(2, 3))
    bell.ring(IDS[0])
    bell.started(IDS[0], worker="host.2.beef")
    suspend(redis)
    assert presence.beat(worker(2, 3)) is True
    assert states(redis) == {"host.2.beef": "busy", "host.3.beef": "suspended"}
    resume(redis)
    bell.ended(IDS[0], "completed", worker="host.2.beef")
    assert presence.beat(worker(2, 3)) is False
    assert states(redis) == {"host.2.beef": "idle", "host.3.beef": "idle"}


def test_beats_keep_counts_and_birth(presence: Presence, redis: Redis, bell: Bell) -> None:
    presence.beat(worker(2))
    born = Worker.all(redis)[0].birth_date
    bell.ring(IDS[0])
    bell.started(IDS[0], worker="host.2.beef")
    bell.ended(IDS[0], "completed", worker="host.2.beef")
    presence.beat(worker(2))
    (found,) = Worker.all(redis)
    assert (found.successful_job_count, found.birth_date) == (1, born)


def test_who_is_silent_vanishes(presence: Presence, redis: Redis, queue: RqQueue) -> None:
    presence.beat(worker(2))
    keys = [key for key in redis.scan_iter() if not key.startswith(b"rq:workers")]
    assert {redis.ttl(key) for key in keys} <= {29, 30}
    for key in keys:
        redis.delete(key)
    assert Worker.all(redis) == []
    assert queue.workers() == []


def test_names_of_the_dead_are_swept_up_by_others(presence: Presence, redis: Redis, client: RedisClient) -> None:
    presence.beat(worker(2))
    redis.delete("rq:worker:host.2.beef")
    Presence(client, QUEUES).beat(worker(3, name="host.9.cafe"))
    assert {key: redis.smembers(key) for key in redis.keys("rq:workers*")} == {
        key.encode(): {b"rq:worker:host.3.beef"}
        for key in ["rq:workers", *(f"rq:workers:{line}" for line in lines(QUEUES))]
    }


def test_rq_s_clean_up_leaves_the_living(presence: Presence, redis: Redis) -> None:
    presence.beat(worker(2))
    clean_worker_registry(Queue(QUEUE, redis))
    assert states(redis) == {"host.2.beef": "idle"}


def test_a_worker_that_ends_leaves_nothing(presence: Presence, redis: Redis, queue: RqQueue) -> None:
    presence.beat(worker(2, 3))
    presence.gone()
    assert list(redis.scan_iter()) == []
    assert queue.workers() == []


def test_after_an_outage_all_is_shown_again(presence: Presence, redis: Redis, queue: RqQueue) -> None:
    presence.beat(worker(2))
    redis.flushall()
    presence.beat(worker(2))
    assert states(redis) == {"host.2.beef": "idle"}
    assert len(queue.workers()) == 1


def test_workers_are_told_as_they_were_shown(client: RedisClient, queue: RqQueue) -> None:
    views: Sequence[WorkerView] = [worker(4, name="b"), replace(worker(5, 6, name="a"), state="draining")]
    for view in views:
        Presence(client, QUEUES).beat(view)
    assert queue.workers() == [views[1], views[0]]
    assert queue.stats()["max_workers"] == 3
    assert queue.stats()["is_running"] is True


def test_the_time_limit_of_our_own_connections_stays(client: RedisClient, presence: Presence) -> None:
    before = client.connection().connection_pool.connection_kwargs["socket_timeout"]
    presence.beat(worker(2))
    assert client.connection().connection_pool.connection_kwargs["socket_timeout"] == before


def test_another_prefix_than_that_with_which_rq_was_imported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQ_KEY_PREFIX", "rq")
    with pytest.raises(SettingsError, match="RQ_KEY_PREFIX=shop:rq"):
        export_prefix("shop")
