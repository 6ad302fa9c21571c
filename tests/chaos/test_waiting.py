"""Very many tasks that wait for an hour: they hold nothing, outlive restarts, and wake in time, each once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.serving import eventually, start
from tests.chaos import processes
from tests.chaos.inside import effects
from tests.chaos.judge import leftovers
from tests.chaos.load import LEAVE, settings_for
from tests.chaos.many import QUEUE, Inside, inside, problems, sized
from tests.faults.clock import ShiftedClock
from tests.servers import RedisServer

HOUR = 3600
LATEST = 1.0
"""Guarantee G7: seconds by which a task wakes late at most."""

PACE = 1000
"""Tasks that wake in a second, at least."""

ROOM = 2500
"""Bytes of Redis for a task that waits, at most: its record, events, RQ's job and all indices."""

JUDGED = 2000
"""Of so many tasks all events are read, and everything is searched for what is left of them."""

STEPS = ("before", "pause", "after")
"""All steps; the last one leaves effects."""

STALLED = 120.0
"""Seconds without any progress after which something is taken for broken."""


WARM_UP = 20
"""Tasks before memory is measured: they bring scripts and connections."""

HOUR_LONG = f"""
steps:
  - {{id: before, output: 1}}
  - {{id: pause, wait: 1h}}
  - id: after
    {LEAVE}
    with: {{log: effects, value: "${{{{ steps.before.output + 1 }}}}"}}
outputs: {{after: "${{{{ steps.after.output }}}}"}}
"""
"""The log is in the folder of the workers: how long that is called must not count."""


class Crowd:
    """So many tasks on a deployment that is hurt while they go to sleep and after they wake; `faults` counts how
    often."""

    def __init__(self, deployed: Cluster, within: Inside, chance: random.Random) -> None:
        self.deployed, self.store, self._chance = deployed, within.store, chance
        self.faults = 0

    def count(self, status: str) -> int:
        """How many tasks are in this state."""
        return self.store.counts().get(QUEUE, {}).get(status, 0)

    def kill_a_work_horse(self) -> None:
        """Kill a work-horse of any worker."""
        horses = [horse for worker in self.deployed.workers if worker.running for horse in processes.horses(worker.pid)]
        self._kill([self._chance.choice(horses)])

    def kill_a_worker(self) -> None:
        """Kill all processes of a worker at once, and start another one."""
        worker = self._chance.choice([worker for worker in self.deployed.workers if worker.running])
        self._kill(processes.tree(worker.pid))
        worker.stop(signal.SIGKILL)
        self.deployed.worker()

    def until_all(self, status: str, total: int, hurt: Sequence[Callable[[], None]]) -> None:
        """Wait until all tasks are in a state; hurt the deployment at so many moments on the way."""
        moments = sorted(self._chance.randrange(total // 10, total * 8 // 10) for _ in hurt)
        for moment, fault in zip(moments, hurt, strict=True):
            self._progress(status, moment)
            fault()
        self._progress(status, total)

    def restart_everything(self) -> None:
        """Kill Redis, the API and the workers, and start them again."""
        deployed, workers = self.deployed, [worker for worker in self.deployed.workers if worker.running]
        deployed.redis.kill()
        for worker in workers:
            processes.kill(processes.tree(worker.pid))
            worker.stop(signal.SIGKILL)
        deployed.api.stop(signal.SIGKILL)
        deployed.redis.start()
        deployed.api = start(deployed.folder, {}, **deployed.settings)
        deployed.opened.callback(deployed.api.close)
        for _ in workers:
            deployed.worker()

    def is_at_rest(self) -> bool:
        """Whether no lease is held and no work-horse is busy."""
        leases = [*self.deployed.redis.client().scan_iter("stepwell:running:*", count=10_000)]
        workers = self.deployed.api.get("/workflows/workers").json()["items"]
        states = Counter(horse["state"] for worker in workers for horse in worker["horses"])
        return not leases and set(states) == {"idle"}

    def _kill(self, pids: Sequence[int]) -> None:
        processes.kill(pids)
        self.faults += 1

    def _progress(self, status: str, wanted: int) -> None:
        """Wait for a number of tasks in a state, as long as there are ever more of them."""
        best, since = -1, time.monotonic()
        while (number := self.count(status)) < wanted:
            if number > best:
                best, since = number, time.monotonic()
            assert time.monotonic() < since + STALLED, f"{best} of {wanted} tasks are {status}, and no more come"
            time.sleep(0.05)


def used(redis: RedisServer) -> int:
    """Bytes of memory that Redis uses for what it keeps: without those for connections, scripts and what it writes."""
    stats = redis.client().memory_stats()
    return int(stats["total.allocated"] - stats["clients.normal"] - stats["lua.caches"] - stats["aof.buffer"])


def woken(crowd: Crowd, shift: Callable[[], None]) -> tuple[float, float]:
    """Have all tasks become due: seconds until the first is woken, and how many a second are from then on."""
    total = crowd.count("waiting")
    shift()
    begin = time.monotonic()
    while (left := crowd.count("waiting")) == total:
        assert time.monotonic() < begin + STALLED, "nobody wakes"
        time.sleep(0.005)
    first, then = time.monotonic(), left
    while crowd.count("waiting"):
        assert time.monotonic() < first + STALLED, "somebody is not woken"
        time.sleep(0.005)
    return first - begin, then / max(time.monotonic() - first, 0.001)


def test_very_many_tasks_wait_for_an_hour(
    tmp_path: Path, shifted_clock: ShiftedClock, seed: int, record_property: Callable[[str, object], None]
) -> None:
    total = sized(seed, 2000, 100_000)
    with ExitStack() as opened:
        redis = RedisServer(tmp_path / "redis", appendfsync="always", env=shifted_clock.env)
        opened.enter_context(redis)
        settings = {**settings_for(tmp_path), "QUEUE_MAX_SIZE": str(total)}
        deployed = opened.enter_context(cluster(tmp_path / "app", redis, {"hour": HOUR_LONG}, workers=2, **settings))
        within = opened.enter_context(inside(deployed))
        crowd = Crowd(deployed, within, random.Random(seed))
        ids = within.submit("hour", WARM_UP)
        crowd.until_all("waiting", WARM_UP, [])
        before = used(redis)
        ids += within.submit("hour", total - WARM_UP)
        crowd.until_all("waiting", total, [crowd.kill_a_work_horse, crowd.kill_a_worker])
        eventually(crowd.is_at_rest)
        size = (used(redis) - before) / (total - WARM_UP)
        assert size <= ROOM
        crowd.restart_everything()
        eventually(crowd.is_at_rest)
        assert crowd.count("waiting") == total
        first, pace = woken(crowd, partial(shifted_clock.shift, HOUR))
        crowd.until_all("completed", total, [crowd.kill_a_worker, crowd.kill_a_work_horse])
        record_property("waiting", {"bytes": size, "first": first, "pace": pace})
        assert first <= LATEST
        assert pace >= PACE
        judge(crowd, ids, random.Random(seed))


def judge(crowd: Crowd, ids: Sequence[str], chance: random.Random) -> None:
    """Every step of every task ran, and only what was interrupted ran again; what was committed was so once."""
    runs = Counter((effect.task_id, effect.path) for effect in effects.read(crowd.deployed.folder / "effects"))
    assert set(runs) == {(task_id, "after") for task_id in ids}
    assert max(runs.values()) <= 1 + crowd.faults
    again = {task_id for (task_id, _), times in runs.items() if times > 1}
    some = again | {*chance.sample(ids, min(JUDGED, len(ids)))}
    found = [problem for task_id in some for problem in problems(crowd.store.events(task_id), STEPS)]
    assert not found, "\n".join(found)
    assert eventually(lambda: not leftovers(crowd.deployed.redis.client(), some) or None)


@pytest.mark.parametrize("seconds", [2, 3])
def test_a_wait_ends_in_time(tmp_path: Path, redis: RedisServer, seconds: int) -> None:
    """Without a jump of the clock: nobody knows of the time but the store."""
    workflow = f"steps: [{{id: pause, wait: {seconds}s}}, {{id: after, output: 1}}]"
    with cluster(tmp_path / "app", redis, {"short": workflow}) as deployed, inside(deployed) as within:
        for task_id in within.submit("short", 20):
            deployed.until(task_id, "completed")
            due = (within.store.step(task_id, "pause").wait or {})["due"]
            queued = [event.at for event in within.store.events(task_id) if event.kind == "task.queued"]
            assert len(queued) == 2
            assert 0 <= queued[1] - due <= LATEST
