"""Law 7 from end to end: Redis is away, and the same request runs inline, once, without delay, and says so."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.acceptance.cluster import TASKS, Cluster, cluster
from tests.acceptance.serving import GATED, HELLO, eventually
from tests.faults.proxy import ChaosProxy
from tests.servers import RedisServer

LATER = 0.3
"""Seconds that an inline answer may take longer because Redis turned out to be away."""

PROBES = 2.5
"""A Redis that is away is asked at most so many times a second."""

WORKFLOWS = {"hello": HELLO, "gated": GATED}


class Deployment:
    """A deployment whose way to Redis can be cut."""

    def __init__(self, deployed: Cluster, redis: RedisServer, proxy: ChaosProxy) -> None:
        self.deployed, self.redis, self.proxy = deployed, redis, proxy

    def ask(self, **more: Any) -> httpx.Response:
        """Have a task queued, if that is possible."""
        return self.deployed.api.post("/workflows/hello/execute?async_execute=true", **more)

    def health(self) -> dict[str, Any]:
        """What `GET /health` says."""
        found: dict[str, Any] = self.deployed.api.get("/health").json()
        return found

    def is_back(self) -> bool:
        """Whether the API knows that Redis is there."""
        return self.health()["degraded"] is None

    @contextmanager
    def away(self, how: str) -> Iterator[None]:
        """Inside, Redis cannot be reached: `refused`, `blackholed` or `ended`."""
        if how == "ended":
            self.redis.stop()
        elif how == "refused":
            self.proxy.set(refuse=True, kill=True)
        else:
            self.proxy.set(blackhole=True, kill=True)
        try:
            yield
        finally:
            if how == "ended":
                self.redis.start()
            self.proxy.heal()
            self.proxy.set(kill=True)  # what hangs in the black hole
            eventually(self.is_back)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("fallback")
    with (
        RedisServer(folder / "redis", appendfsync="always") as redis,
        ChaosProxy(folder / "proxy", redis.port) as proxy,
        cluster(folder / "app", redis, WORKFLOWS, REDIS_URL=proxy.url) as deployed,
    ):
        yield Deployment(deployed, redis, proxy)


AWAY = pytest.mark.parametrize("how", ["ended", "refused", "blackholed"])


def seconds(ask: Callable[[], httpx.Response]) -> float:
    """How long it takes to answer with an ended task."""
    begun = time.monotonic()
    answer = ask()
    assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text
    return time.monotonic() - begun


@AWAY
def test_the_first_request_is_answered_inline_with_little_delay(
    deployment: Deployment, how: str, record_property: Callable[[str, object], None]
) -> None:
    inline = statistics.median(
        seconds(lambda: deployment.deployed.api.post("/workflows/hello/execute")) for _ in range(5)
    )
    first = []
    for _ in range(3):
        with deployment.away(how):
            first.append(seconds(deployment.ask))
    record_property("inline_and_first_seconds", (inline, first))
    assert statistics.median(first) <= inline + LATER


@AWAY
def test_it_says_that_it_is_degraded_and_why(deployment: Deployment, how: str) -> None:
    with deployment.away(how):
        answer = deployment.ask(json={"variables": {"name": "Ada"}}).json()
        assert answer["result"]["outputs"] == {"greeting": "Hello, Ada!"}
        assert answer["degraded"] is True
        assert "Redis" in answer["reason"]
        health = deployment.health()
        assert health["status"] == "ok"
        assert "Redis" in health["degraded"]
        assert deployment.deployed.api.get("/ready").status_code == 200


def test_a_task_for_later_tells_too_that_only_this_host_has_it(deployment: Deployment) -> None:
    with deployment.away("refused"):
        answer = deployment.deployed.api.post("/workflows/hello/execute?async_execute=true", {"delay": "1h"})
        assert (answer.status_code, answer.json()["status"], answer.json()["degraded"]) == (202, "pending", True)


def test_further_requests_do_not_try_to_connect(deployment: Deployment) -> None:
    with deployment.away("refused"):
        deployment.ask()
        before, begun = deployment.proxy.set()["accepted"], time.monotonic()
        for _ in range(30):
            seconds(deployment.ask)
        tried = deployment.proxy.set()["accepted"] - before
        keeper_and_horses = 3  # they try, too
        allowed = (1 + keeper_and_horses * 10) * (1 + PROBES * (time.monotonic() - begun))
        assert tried < allowed


def test_with_an_idempotency_key_it_is_refused_until_redis_is_back(deployment: Deployment) -> None:
    with deployment.away("ended"):
        for _ in range(2):
            answer = deployment.ask(headers={"Idempotency-Key": "k"})
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            assert "idempotency key" in answer.json()["detail"]
    answer = deployment.ask(headers={"Idempotency-Key": "k"})
    assert answer.status_code == 202
    deployment.deployed.until(answer.json()["task_id"], "completed")


def test_reads_find_the_tasks_of_both_stores(deployment: Deployment) -> None:
    api = deployment.deployed.api
    shared = deployment.ask().json()["task_id"]
    deployment.deployed.until(shared, "completed")
    with deployment.away("ended"):
        local = deployment.ask().json()["task_id"]
        assert deployment.deployed.task(local)["status"] == "completed"
        assert [step["status"] for step in deployment.deployed.steps(local)] == ["completed"]
        assert api.get(f"{TASKS}/{shared}").status_code == 503
        assert api.get(TASKS).status_code == 503  # half a list would be a wrong one
    listed = [task["task_id"] for task in api.get(f"{TASKS}?limit=2").json()["items"]]
    assert listed == [local, shared]
    for task_id in (local, shared):
        assert deployment.deployed.task(task_id)["status"] == "completed"
        assert api.get(f"{TASKS}/{task_id}/events").json()["items"]


def test_when_redis_is_back_tasks_are_queued_again_without_a_restart(deployment: Deployment) -> None:
    with deployment.away("ended"):
        assert deployment.ask().status_code == 200
    answer = deployment.ask()
    assert answer.status_code == 202
    assert "degraded" not in answer.json()
    deployment.deployed.until(answer.json()["task_id"], "completed")


def test_a_batch_runs_in_this_process(deployment: Deployment) -> None:
    with deployment.away("ended"):
        answer = deployment.deployed.api.post("/workflows/hello/execute/batch", {"items": [{}] * 5})
        assert answer.status_code == 202
        for item in answer.json()["items"]:
            assert deployment.deployed.api.ended(item["task_id"])["status"] == "completed"


def test_the_log_tells_once_and_not_for_each_request(deployment: Deployment) -> None:
    def told() -> int:
        lines = [line for line in deployment.deployed.api.log.splitlines() if "audit log" not in line]
        return sum("warning" in line or "error" in line for line in lines)

    with deployment.away("ended"):
        deployment.ask()
        eventually(lambda: "kept on this host" in deployment.deployed.api.log)
        few = told()
        for _ in range(30):
            deployment.ask()
        assert told() - few <= 5  # each thread that looks after tasks may tell of it once


def test_while_redis_is_held_nothing_runs_twice(deployment: Deployment, tmp_path: Path) -> None:
    """A request that was sent may be done later: it is not run inline, and the answer names the task."""
    deployment.redis.pause()
    try:
        answer = deployment.ask()
        second = deployment.ask()
    finally:
        deployment.redis.resume()
    assert (second.status_code, second.json()["status"]) == (200, "completed")
    assert answer.status_code in (200, 503)  # 200 where a connection had to be made, so that nothing was sent
    eventually(deployment.is_back)
    task_id = answer.json()["task_id"]
    if deployment.deployed.api.get(f"{TASKS}/{task_id}").status_code == 200:
        assert deployment.deployed.api.ended(task_id)["status"] == "completed"
        assert [step["attempts"] for step in deployment.deployed.steps(task_id)] == [1]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment without workers, whose Redis may be set as a test likes."""
    folder = tmp_path_factory.mktemp("refusing")
    with (
        RedisServer(folder / "redis", "--enable-protected-configs", "yes") as redis,
        ChaosProxy(folder / "proxy", redis.port) as proxy,
        cluster(folder / "app", redis, WORKFLOWS, workers=0, REDIS_URL=redis.url) as deployed,
    ):
        yield Deployment(deployed, redis, proxy)


def refuse_for_lack_of_memory(redis: RedisServer, folder: Path) -> None:
    redis.client().config_set("maxmemory", 1)


def refuse_as_replica(redis: RedisServer, folder: Path) -> None:
    redis.client().replicaof("127.0.0.1", "1")  # nobody listens there


def refuse_because_saving_fails(redis: RedisServer, folder: Path) -> None:
    client = redis.client()
    client.config_set("dir", str(folder))
    folder.rmdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def allow(redis: RedisServer) -> None:
    client = redis.client()
    client.config_set("maxmemory", 0)
    client.replicaof("NO", "ONE")
    client.config_set("save", "")


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (refuse_for_lack_of_memory, "OOM"),
        (refuse_as_replica, "READONLY"),
        (refuse_because_saving_fails, "MISCONF"),
    ],
)
def test_a_redis_that_refuses_writes_counts_as_away(
    refusing: Deployment, tmp_path: Path, refuse: Callable[[RedisServer, Path], None], reason: str
) -> None:
    assert refusing.ask().status_code == 202
    (tmp_path / "gone").mkdir()
    refuse(refusing.redis, tmp_path / "gone")
    try:
        answer = refusing.ask()
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        assert reason in answer.json()["reason"]
        assert refusing.health()["degraded"]
    finally:
        allow(refusing.redis)
    eventually(refusing.is_back)
    assert refusing.ask().status_code == 202


class SlowToLoad(RedisServer):
    """A Redis that takes seconds to load a thousand keys; it counts as started before that."""

    def answers(self) -> bool:
        return "Ready to accept connections" in self.log

    def is_loading(self) -> bool:
        """Whether that is what it answers."""
        try:
            self.client(retry=Retry(NoBackoff(), 0)).ping()
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False
        raise AssertionError("it has loaded already")


def test_a_redis_that_still_loads_counts_as_away(tmp_path: Path) -> None:
    slow = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    with SlowToLoad(tmp_path / "redis", *slow, appendfsync="always") as server:
        server.client().mset({f"key-{number}": "x" * 100 for number in range(2000)})
        server.client().bgrewriteaof()
        with cluster(tmp_path / "app", server, WORKFLOWS, workers=0) as deployed:
            server.kill()
            server.start()
            eventually(server.is_loading)
            answer = deployed.api.post("/workflows/hello/execute?async_execute=true")
            assert (answer.status_code, answer.json()["status"]) == (200, "completed")
            assert "LOADING" in answer.json()["reason"]
            eventually(lambda: deployed.api.get("/health").json()["degraded"] is None)
            assert deployed.api.post("/workflows/hello/execute?async_execute=true").status_code == 202
