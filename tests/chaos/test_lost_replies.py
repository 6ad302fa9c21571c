"""Replies that are lost on the way: what was asked for was done, and whoever asked cannot know."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.load import NUMBERS, Load, load
from tests.faults.proxy import ChaosProxy
from tests.servers import RedisServer

from stepwell.queues.rq import bell
from stepwell.settings import Settings
from stepwell.stores.redis.scripts import Scripts

OPERATIONS = ("create", "take", "write", "end_claim")
"""The scripts that create, claim, commit and finish."""


class Wire:
    """The way of a deployment to its Redis, on which replies are lost."""

    def __init__(self, proxy: ChaosProxy, redis: RedisServer) -> None:
        self.proxy = proxy
        settings = Settings(lease_seconds=1.0)
        scripts = Scripts(settings.namespace, 1.0, bell(settings.namespace, settings.result_ttl))
        self._shas = {operation: scripts.script(operation).sha for operation in OPERATIONS}
        self._redis = redis

    @property
    def url(self) -> str:
        """For `REDIS_URL`."""
        return self.proxy.url

    def cut(self, **times: int) -> None:
        """Lose the replies to so many calls of these scripts, which Redis knows already."""
        shas = {self._shas[operation]: number for operation, number in times.items()}
        assert self._redis.client().script_exists(*shas) == [True] * len(shas)
        self.proxy.set(cut_replies=shas)

    @property
    def left(self) -> dict[str, int]:
        """How many replies are still to be lost."""
        counts = self.proxy.set()["state"].get("cut_replies", {})
        return {operation: counts[sha] for operation, sha in self._shas.items() if counts.get(sha)}


def test_replies_lost_on_create_claim_commit_and_finish(tmp_path: Path, redis: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    with ChaosProxy(tmp_path / "proxy", redis.port) as proxy:
        wire = Wire(proxy, redis)
        with load(tmp_path, redis, REDIS_URL=wire.url) as made:
            made.submit(3)
            made.judge()  # now Redis knows all scripts
            for operation in chance.sample(OPERATIONS, len(OPERATIONS)):
                wire.cut(**{operation: chance.randrange(1, 4)})
                lossy(made, 6)
                made.judge()
                assert wire.left == {}
            wire.cut(**{operation: chance.randrange(1, 4) for operation in OPERATIONS})
            lossy(made, 12)
            made.judge()
            assert wire.left == {}


def lossy(made: Load, count: int) -> None:
    """Submit so many tasks; none of them may run inline, since each may have arrived."""
    for number in range(count):
        made.ask(number % NUMBERS)
    assert made.inline == set()
