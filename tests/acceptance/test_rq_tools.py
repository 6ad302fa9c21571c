"""RQ's own programs beside ours: `rq info`, `rq suspend`, `rq resume`, its workers, and who deletes jobs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rq.job import Job
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.serving import GATED, HELLO, PATIENCE, Gate, environment, eventually
from tests.servers import RedisServer

from stepwell.queues.rq import lines

COUNTED = """
variables: {log: {type: string, required: true}}
steps:
  - id: count
    run: echo "$TASK" >> "$LOG"
    env: {LOG: "${{ variables.log }}", TASK: "${{ task.id }}"}
"""
FAILS = "steps: [{id: a, uses: fail, with: {message: no, retryable: false}}]"
WORKFLOWS = {"hello": HELLO, "gated": GATED, "counted": COUNTED, "fails": FAILS}
QUEUE = "workflow_execute"


class RqTools:
    """The program `rq`, as the operators of a deployment call it."""

    def __init__(self, cluster: Cluster) -> None:
        self._folder = cluster.api.folder
        self._env = environment(**cluster.settings)
        self._url = cluster.redis.url

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rq.cli", words[0], "--url", self._url, *words[1:]]
        return subprocess.Popen(command, cwd=self._folder, env=self._env, stdout=subprocess.PIPE, text=True)

    def run(self, *words: str) -> str:
        process = self.start(*words)
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out
        return out

    def worker(self) -> subprocess.Popen[str]:
        """A stock worker that ends when it finds nothing to do."""
        return self.start("worker", "--serializer", "json", "--burst", "--quiet", *lines([QUEUE]))

    def queue(self) -> Mapping[str, int]:
        """The numbers that `rq info` tells of our queue."""
        found = re.search(
            rf"queue {QUEUE} (\d+), (\d+) executing, (\d+) finished, (\d+) failed", self.run("info", "-r")
        )
        assert found is not None
        names = ("queued", "executing", "finished", "failed")
        return dict(zip(names, map(int, found.groups()), strict=True))

    def states(self) -> Mapping[str, int]:
        """How many workers `rq info` shows in each state."""
        return Counter(re.findall(r"^worker \S+ \(.*?\) (\w+)", self.run("info", "-r"), re.MULTILINE))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def deployed(tmp_path: Path, redis: RedisServer) -> Iterator[Cluster]:
    """One worker with two work-horses."""
    with cluster(tmp_path / "app", redis, WORKFLOWS) as made:
        yield made


@pytest.fixture
def unserved(tmp_path: Path, redis: RedisServer) -> Iterator[Cluster]:
    """A deployment whose workers are still to come."""
    with cluster(tmp_path / "app", redis, WORKFLOWS, workers=0) as made:
        yield made


def test_rq_info_shows_what_is_so(deployed: Cluster, tmp_path: Path) -> None:
    tools, gates = RqTools(deployed), [Gate(tmp_path / f"gate-{number}") for number in range(2)]
    deployed.until(deployed.submit("fails")["task_id"], "failed")
    held = [deployed.submit("gated", {"gate": str(gate.path)})["task_id"] for gate in gates]
    with gates[0].held(), gates[1].held():
        last = deployed.submit("hello")["task_id"]
        assert tools.queue() == {"queued": 1, "executing": 2, "finished": 0, "failed": 1}
        assert tools.states() == {"busy": 2}
    for task_id in [*held, last]:
        deployed.until(task_id, "completed")
    assert tools.queue() == {"queued": 0, "executing": 0, "finished": 3, "failed": 1}
    eventually(lambda: tools.states() == {"idle": 2})


def test_suspended_workers_start_nothing_until_they_are_resumed(deployed: Cluster, tmp_path: Path) -> None:
    tools, gate = RqTools(deployed), Gate(tmp_path / "gate")
    running = deployed.submit("gated", {"gate": str(gate.path)})["task_id"]
    with gate.held():
        tools.run("suspend")
        waiting = deployed.submit("hello")["task_id"]
        eventually(lambda: tools.states() == {"busy": 1, "suspended": 1})
        assert deployed.task(waiting)["status"] == "queued"
    deployed.until(running, "completed")
    assert deployed.task(waiting)["status"] == "queued"
    tools.run("resume")
    deployed.until(waiting, "completed")
    eventually(lambda: tools.states() == {"idle": 2})


def test_a_stock_worker_runs_our_tasks(unserved: Cluster) -> None:
    tools = RqTools(unserved)
    task_ids = [unserved.submit("hello", {"name": str(number)})["task_id"] for number in range(3)]
    urgent = unserved.submit("hello", {"name": "urgent"}, priority="urgent")["task_id"]
    failing = unserved.submit("fails")["task_id"]
    tools.worker().communicate(timeout=PATIENCE)
    records = [unserved.task(task_id) for task_id in [urgent, *task_ids]]
    assert [record["status"] for record in records] == ["completed"] * 4
    assert records[2]["result"]["outputs"] == {"greeting": "Hello, 1!"}
    assert records[0]["completed_at"] < min(record["started_at"] for record in records[1:])
    assert unserved.task(failing)["status"] == "failed"
    assert tools.queue()["queued"] == tools.queue()["executing"] == 0


def test_a_stock_worker_beside_ours_loses_and_doubles_nothing(deployed: Cluster, tmp_path: Path) -> None:
    log, count = tmp_path / "log", 40
    stock, batch = RqTools(deployed), [{"variables": {"log": str(log)}}] * count
    stock.run("suspend")
    answer = deployed.api.post("/workflows/counted/execute/batch", {"items": batch})
    task_ids = [item["task_id"] for item in answer.json()["items"]]
    stock.run("resume")
    worker = stock.worker()
    for _ in range(3):
        stock.queue()  # which cleans up registries
    for task_id in task_ids:
        deployed.until(task_id, "completed")
    worker.communicate(timeout=PATIENCE)
    assert Counter(log.read_text().split()) == dict.fromkeys(task_ids, 1)
    assert stock.queue() == {"queued": 0, "executing": 0, "finished": count, "failed": 0}


def test_a_task_whose_job_was_deleted_still_runs(deployed: Cluster) -> None:
    tools = RqTools(deployed)
    tools.run("suspend")
    task_id = deployed.submit("hello")["task_id"]
    with deployed.redis.client() as client:
        Job.fetch(task_id, client, serializer="json").delete()
        assert not list(client.scan_iter(f"rq:*{task_id}*"))
    tools.run("resume")
    deployed.until(task_id, "completed")


def test_a_task_whose_job_was_duplicated_runs_once(unserved: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, second = (unserved.submit("counted", {"log": str(log)})["task_id"] for _ in range(2))
    with unserved.redis.client() as client:
        client.lpush(f"rq:queue:{QUEUE}", *[first, second] * 5)
    unserved.worker()
    for task_id in (first, second):
        unserved.until(task_id, "completed")
    eventually(lambda: RqTools(unserved).queue()["queued"] == 0)
    assert Counter(log.read_text().split()) == {first: 1, second: 1}
