"""The stores under test: each contract test runs once for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.servers import RedisServer

from stepwell.ports import TaskStore
from stepwell.redis_client import RedisClient
from stepwell.stores.memory import MemoryStore
from stepwell.stores.redis import RedisStore
from stepwell.stores.sql import SqlStore
from stepwell.stores.sql.schema import TABLES, versions

LEASE = 10.0


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., TaskStore]]:
    """Makes stores over the same data (in memory: a new one each time); `clock=None` is the store's own time."""
    opened: list[TaskStore] = []
    url = _empty_redis(request) if request.param == "redis" else _empty_database(request, tmp_path)

    def make(clock: Callable[[], float] | None) -> TaskStore:
        store: TaskStore
        if request.param == "redis":
            store = RedisStore(RedisClient(str(url)), lease_seconds=LEASE, clock=clock)
        elif url is not None:
            store = SqlStore(url, clock=clock, lease_seconds=LEASE, connections=10)
        else:
            store = MemoryStore(lease_seconds=LEASE) if clock is None else MemoryStore(clock, LEASE)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., TaskStore], clock: Clock) -> TaskStore:
    return make_store(clock)


def _empty_redis(request: pytest.FixtureRequest) -> str:
    server: RedisServer = request.getfixturevalue("redis_server")
    with server.client() as client:
        client.flushall()
    return server.url


def _empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/stepwell.db"
    url: str = request.getfixturevalue("postgres_url")
    SqlStore(url).close()  # makes the tables if they are not there
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in reversed(TABLES.sorted_tables):
            if table is not versions:
                connection.execute(sa.delete(table))
    engine.dispose()
    return url
