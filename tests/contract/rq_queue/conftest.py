"""An empty Redis, clients of it, and the bell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from tests.contract.rq_queue.bells import HORSE, QUEUE, RESULT_TTL, Bell
from tests.contract.rq_queue.parts import QUEUES, Parts
from tests.servers import RedisServer

from stepwell.ports import HorseView, WorkerView
from stepwell.queues.rq import Presence, RqFeed, RqQueue, RqSqlFeed, RqSqlQueue
from stepwell.queues.rq import bell as bell_text
from stepwell.redis_client import RedisClient
from stepwell.stores.redis import RedisStore
from stepwell.stores.sql import SqlStore


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def client(redis_server: RedisServer, redis: Redis) -> Iterator[RedisClient]:
    client = RedisClient(redis_server.url)
    yield client
    client.close()


@pytest.fixture
def bell(client: RedisClient) -> Bell:
    return Bell(client)


@pytest.fixture
def horse(client: RedisClient) -> Iterator[None]:
    """A work-horse that RQ knows of."""
    now = time.time()
    presence = Presence(client, [QUEUE])
    presence.beat(WorkerView("w", "host", 7, "running", (QUEUE,), now, now, (HorseView(HORSE, 7, "idle", now),)))
    yield
    presence.gone()


@pytest.fixture(params=["redis", "sqlite"])
def parts(request: pytest.FixtureRequest, client: RedisClient, tmp_path: Path) -> Iterator[Parts]:
    if request.param == "redis":
        store = RedisStore(client, bell=bell_text("stepwell", RESULT_TTL))
        queue = RqQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)
        yield Parts(store, queue, lambda *queues: RqFeed(client, store, queues or QUEUES))
        return
    sql = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    sql_queue = RqSqlQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)
    yield Parts(sql, sql_queue, lambda *queues: RqSqlFeed(client, sql, queues or QUEUES, result_ttl=RESULT_TTL))
    sql.close()


@pytest.fixture
def sql(client: RedisClient, tmp_path: Path) -> Iterator[Parts]:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    queue = RqSqlQueue(client, QUEUES, result_ttl=RESULT_TTL, max_size=100)
    yield Parts(store, queue, lambda: RqSqlFeed(client, store, QUEUES, result_ttl=RESULT_TTL))
    store.close()
