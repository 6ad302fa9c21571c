"""Workers that are killed and stopped: parents, all processes at once, and those that come back from the dead."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from tests.acceptance.cluster import Cluster, Worker
from tests.acceptance.serving import eventually
from tests.chaos import processes
from tests.chaos.load import Load, load
from tests.servers import RedisServer

HORSE_LIMIT = 1.0
WORKER_LIMIT = 15.0
"""Guarantee G5: seconds between a death and the next attempt, elsewhere."""

DEFAULT_LEASE = "10"

Victims = Callable[[Worker], list[int]]

VICTIMS: dict[str, Victims] = {
    "parent": lambda worker: [worker.pid],
    "all": lambda worker: processes.tree(worker.pid),
    "parent and a work-horse": lambda worker: [worker.pid, *processes.horses(worker.pid)[:1]],
    "work-horses": lambda worker: processes.horses(worker.pid),
    "all but work-horses": lambda worker: list({*processes.tree(worker.pid)} - {*processes.horses(worker.pid)}),
}


def recovery(made: Load, gate: Path, kill: Callable[[int], None]) -> float:
    """Seconds from the death of the process in which a step runs to the beginning of its next attempt."""
    task_id = made.hold(gate)
    pid = made.attempt(task_id, "hold", 1).pid
    killed_at = time.time()
    kill(pid)
    again = made.attempt(task_id, "hold", 2)
    gate.touch()
    made.judge(everywhere=1)
    gate.unlink()
    return again.at - killed_at


def worker_of(deployed: Cluster, pid: int) -> Worker:
    """The worker to which a work-horse belongs."""
    (worker,) = [worker for worker in deployed.workers if worker.running and pid in processes.tree(worker.pid)]
    return worker


def holds(redis: RedisServer, pids: Collection[int]) -> bool:
    """Whether one of these work-horses holds a task, as RQ's registries tell."""
    keys = [str(key) for key in redis.client(decode_responses=True).scan_iter("rq:worker:*:executions", count=1000)]
    return any(f".{pid}." in key for key in keys for pid in pids)


def released(redis: RedisServer, pids: Collection[int]) -> bool:
    """Whether all that they held was taken from them."""
    return not holds(redis, pids)


def stop_at_work(redis: RedisServer, worker: Worker) -> list[int]:
    """Stop all processes of a worker at a moment when it holds a task; answers them."""
    pids = processes.tree(worker.pid)

    def stopped() -> bool:
        processes.send(pids, signal.SIGSTOP)
        if holds(redis, pids):
            return True
        processes.send(pids, signal.SIGCONT)
        return False

    eventually(stopped)
    return pids


def test_a_killed_work_horse_is_made_up_for_within_a_second(
    tmp_path: Path, redis: RedisServer, record_property: Callable[[str, object], None]
) -> None:
    with load(tmp_path, redis, workers=1, LEASE_SECONDS=DEFAULT_LEASE) as made:
        took = [recovery(made, tmp_path / "gate", lambda pid: processes.kill([pid])) for _ in range(3)]
    record_property("recovery_seconds", took)
    assert statistics.median(took) <= HORSE_LIMIT, took


def test_a_killed_worker_is_made_up_for_within_fifteen_seconds(
    tmp_path: Path, redis: RedisServer, record_property: Callable[[str, object], None]
) -> None:
    with load(tmp_path, redis, workers=2, LEASE_SECONDS=DEFAULT_LEASE) as made:

        def recovered(way: str) -> float:
            return recovery(
                made, tmp_path / "gate", lambda pid: processes.kill(VICTIMS[way](worker_of(made.deployed, pid)))
            )

        took = {"parent": recovered("parent")}
        made.deployed.worker()
        took["all"] = recovered("all")
    record_property("recovery_seconds", took)
    assert max(took.values()) <= WORKER_LIMIT


def test_workers_killed_in_every_way_under_load(tmp_path: Path, redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    ways = list(VICTIMS)
    chance.shuffle(ways)
    with load(tmp_path, redis, workers=2) as made:
        with made.going_on():
            for way in ways:
                made.until_more(chance.randrange(5, 20))
                victim = made.deployed.workers[-1]
                processes.kill(VICTIMS[way](victim))
                if way != "work-horses":
                    victim.stop(signal.SIGKILL)
                    made.deployed.worker()
            made.until_more(5)
        made.judge(everywhere=len(ways))


def test_workers_stopped_past_the_lease_under_load(tmp_path: Path, redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    with load(tmp_path, redis, workers=2) as made:
        stopped: set[int] = set()
        with made.going_on():
            for worker in made.deployed.workers:
                made.until_more(chance.randrange(5, 30))
                pids = stop_at_work(redis, worker)
                stopped |= {*pids}
                eventually(partial(released, redis, pids))
                processes.send(pids, signal.SIGCONT)
            made.until_more(10)
        made.judge(everywhere=len(made.deployed.workers), zombies=stopped)
