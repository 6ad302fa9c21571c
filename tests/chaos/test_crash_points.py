"""kill -9 of work-horses at each crash point, while tasks run."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from tests.acceptance.serving import eventually
from tests.chaos.inside import crashes
from tests.chaos.load import load
from tests.servers import RedisServer

TASKS = 12
LATEST = {"claim": 8, "finish": 8, "step": 60, "commit": 60, "confirm": 60}
"""A point is reached so often at least, by so many tasks."""


def test_work_horses_killed_at_each_crash_point(tmp_path: Path, redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    plan = {point: [chance.randrange(1, LATEST[point.partition(":")[0]])] for point in crashes.POINTS}
    with load(tmp_path, redis, workers=0) as made:
        made.submit(TASKS)
        worker = made.deployed.worker(STEPWELL_CHAOS_PLAN=json.dumps(plan))
        made.judge()
        happened = Counter(crash.point for crash in crashes.read(tmp_path))
        assert set(happened) == set(plan), f"no process came to {set(plan) - set(happened)}"
        eventually(lambda: worker.log.count("work-horse") > 0)
        assert worker.running
