"""What only matters where the store is not in the Redis that rings for workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.registry import FinishedJobRegistry, StartedJobRegistry
from tests.contract.building import NOTHING
from tests.contract.rq_queue.bells import HORSE, RESULT_TTL
from tests.contract.rq_queue.parts import QUEUES, Parts, waiting
from tests.servers import RedisServer

from stepwell.errors import NotDelivered, Unavailable
from stepwell.ports import Claim
from stepwell.queues.rq import RqSqlFeed
from stepwell.redis_client import RedisClient, Script
from stepwell.stores.sql import SqlStore
from stepwell.task import Status


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


class Restarting(SqlStore):
    """A store that breaks off at its next claim."""

    away = True

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        claim = super().claim(task_id, token, worker)
        if self.away:
            self.away = False
            raise Unavailable("it broke off")
        return claim


def test_a_claim_whose_answer_was_lost_is_asked_for_again(sql: Parts, client: RedisClient, tmp_path: Path) -> None:
    sql.submit("a")
    store = Restarting(f"sqlite:///{tmp_path}/tasks.db")
    feed = RqSqlFeed(client, store, QUEUES, result_ttl=RESULT_TTL)
    with pytest.raises(Unavailable):
        feed.take("token", HORSE)
    claim = feed.take("token", HORSE)
    assert claim is not None
    assert (claim.task.task_id, feed.take("other", HORSE)) == ("a", None)
    store.close()


def test_what_a_dead_worker_left_in_registries_goes(sql: Parts, redis: Redis) -> None:
    sql.submit("a", "b")
    redis.hset("rq:worker:alive", "state", "idle")
    assert sql.feed().take("1", "dead") is not None
    assert sql.feed().take("2", "alive") is not None
    sql.queue.lengths()
    assert StartedJobRegistry("line", redis).get_job_ids() == ["b"]
    assert 0 < redis.ttl("rq:job:a") <= RESULT_TTL
