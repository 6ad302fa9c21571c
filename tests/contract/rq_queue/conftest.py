"""An empty Redis, clients of it, and the bell."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis import Redis
from tests.contract.rq_queue.bells import HORSE, QUEUE, Bell
from tests.servers import RedisServer

from stepwell.ports import HorseView, WorkerView
from stepwell.queues.rq import Presence
from stepwell.redis_client import RedisClient


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
