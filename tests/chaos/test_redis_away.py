"""Redis that is killed, held, away for long, and replaced by its replica, while tasks run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.serving import eventually
from tests.chaos.load import Load, load
from tests.servers import RedisServer, Sentinels

RESTARTS = 2
"""For each seed."""

OUTAGE = 2.5
"""Seconds, with leases of one second."""


def crashes_counted(made: Load) -> list[str]:
    """The lines in which anybody tells that a worker was lost."""
    logs = [made.deployed.api.log, *(worker.log for worker in made.deployed.workers)]
    return [line for log in logs for line in log.splitlines() if "(crash" in line]


def queued_again(made: Load) -> bool:
    """Whether a task that is submitted now goes to the workers."""
    before = {*made.accepted}
    made.ask(0)
    return bool({*made.accepted} - before - made.inline)


def test_nothing_acknowledged_is_lost_when_redis_is_killed(tmp_path: Path, redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    with load(tmp_path, redis, workers=2, LEASE_SECONDS="5") as made:
        with made.going_on(clients=3):
            for _ in range(RESTARTS):
                made.until_more(chance.randrange(10, 30))
                redis.kill()
                redis.start()
            made.until_more(10)
        assert eventually(lambda: queued_again(made))
        made.judge()
        assert crashes_counted(made) == []


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [
        pytest.param(RedisServer.stop, RedisServer.start, id="ended"),
        pytest.param(RedisServer.pause, RedisServer.resume, id="held"),
    ],
)
def test_an_outage_longer_than_a_lease_counts_no_crash(
    tmp_path: Path,
    redis: RedisServer,
    leave: Callable[[RedisServer], object],
    come_back: Callable[[RedisServer], object],
) -> None:
    """Of two tasks the step of one ends while Redis is away, that of the other later."""
    gates = [tmp_path / "first", tmp_path / "second"]
    with load(tmp_path, redis, workers=2) as made:
        for gate in gates:
            made.attempt(made.hold(gate), "hold", 1)
        leave(redis)
        gates[0].touch()
        time.sleep(OUTAGE)
        come_back(redis)
        gates[1].touch()
        made.judge()
        assert crashes_counted(made) == []


def test_a_failover_of_the_sentinels_is_survived(tmp_path: Path, seed: int) -> None:
    """Replication is asynchronous: what was acknowledged, but had not reached the replica, may be lost in general. What
    had reached it ends; a step whose commit had not may run again, like after a crash."""
    with Sentinels(tmp_path / "sentinels") as sentinels:
        settings = {"REDIS_SENTINELS": sentinels.addresses, "REDIS_MASTER": sentinels.master_name}
        with load(tmp_path, sentinels.master, workers=2, **settings) as made:
            made.submit(random.Random(seed).randrange(20, 40))
            writer = sentinels.master.client()
            writer.set("marker", "all before it is replicated, too")
            assert writer.wait(1, 5000) == 1
            made.deployed.redis = sentinels.replica
            sentinels.master.kill()
            with made.going_on():
                eventually(lambda: sentinels.master_port() == sentinels.replica.port)
                made.until_more(5)
            eventually(lambda: queued_again(made))
            made.judge(everywhere=1)
