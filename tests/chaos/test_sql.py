"""Tasks in SQL: processes that resume the same task, PostgreSQL that crashes, Redis that comes and goes."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.serving import eventually, start
from tests.chaos.inside import effects
from tests.chaos.load import WORKFLOWS, load, settings_for
from tests.servers import PostgresServer, RedisServer

TASKS = 200


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer(fsync=True) as server:
        yield server


def test_a_task_that_two_processes_resume_runs_once(tmp_path: Path) -> None:
    """The server that ran it was killed; two new ones find it in the same database."""
    log, gate = tmp_path / "effects", tmp_path / "gate"
    settings = {
        **settings_for(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/shared.db",
        "INLINE_ASYNC": "background",
    }
    first = start(tmp_path / "first", WORKFLOWS, **settings)
    answer = first.post(
        "/workflows/held/execute?async_execute=true", {"variables": {"log": str(log), "gate": str(gate)}}
    )
    task_id = answer.json()["task_id"]
    eventually(lambda: "hold" in [effect.path for effect in effects.read(log)])
    first.stop(signal.SIGKILL)
    first.close()
    others = [start(tmp_path / name, WORKFLOWS, **settings) for name in ("second", "third")]
    try:
        eventually(lambda: len(effects.read(log)) > 2)
        gate.touch()
        assert others[0].ended(task_id)["result"]["outputs"] == {"after": 2}
        ran = Counter(effect.path for effect in effects.read(log))
        assert ran == {"before": 1, "hold": 2, "after": 1}
    finally:
        for server in others:
            server.close()


def test_tasks_in_postgresql_run_once_each_on_two_workers(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer
) -> None:
    with load(tmp_path, redis, workers=2, DATABASE_URL=postgres.url) as made:
        body = {"items": [{"variables": {"log": str(made.log), "number": number % 3}} for number in range(TASKS)]}
        items = made.deployed.api.post("/workflows/busy/execute/batch", body).json()["items"]
        made.accepted |= {item["task_id"]: made.due[number % 3] for number, item in enumerate(items)}
        made.judge()


def test_postgresql_that_crashes_under_load_loses_nothing(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer, seed: int
) -> None:
    chance = random.Random(seed)
    with load(tmp_path, redis, workers=2, DATABASE_URL=postgres.url, LEASE_SECONDS="5") as made:
        with made.going_on():
            for _ in range(2):
                made.until_more(chance.randrange(5, 20))
                postgres.restart("immediate")
            made.until_more(10)
        made.judge()


def test_redis_that_comes_and_goes_never_makes_a_task_run_in_both_modes(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer, seed: int
) -> None:
    """A task is in the database first; who rings for it, and whether the bell arrives, changes."""
    chance = random.Random(seed)
    with load(tmp_path, redis, workers=2, DATABASE_URL=postgres.url, LEASE_SECONDS="5") as made:
        with made.going_on():
            for _ in range(3):
                made.until_more(chance.randrange(5, 15))
                redis.kill()
                made.until_more(chance.randrange(5, 15))
                redis.start()
            made.until_more(10)
        assert made.inline
        made.judge()
