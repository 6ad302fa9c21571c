"""The proxy cuts the replies to chosen scripts, after they were done."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.faults.proxy import ChaosProxy
from tests.servers import RedisServer


def test_replies_to_a_script_are_cut_so_many_times(redis_server: RedisServer, tmp_path: Path) -> None:
    direct = redis_server.client()
    direct.flushall()
    sha = str(direct.script_load("return redis.call('INCR', 'counter')"))
    with ChaosProxy(tmp_path, redis_server.port) as proxy:
        client = redis.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0))
        proxy.set(cut_replies={sha: 2})
        assert client.ping()
        for number in (b"1", b"2"):
            with pytest.raises(redis.ConnectionError):
                client.evalsha(sha, 0)
            assert direct.get("counter") == number
        assert client.evalsha(sha, 0) == 3
        assert proxy.set()["state"] == {"cut_replies": {sha: 0}}
