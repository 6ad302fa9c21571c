"""The command line where tasks go to workers: what runs in the terminal, and what is only shown there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.serving import HELLO, ROOT, environment, eventually
from tests.servers import RedisServer

PATIENCE = 60.0
FAILS_ONCE = """
max_retries: 0
variables: {flag: {type: string, required: true}}
steps:
  - id: a
    run: test -e "$FLAG" || { touch "$FLAG"; exit 1; }
    env: {FLAG: "${{ variables.flag }}"}
"""


class Terminal:
    """The program in the folder of a deployment, with its settings."""

    def __init__(self, deployed: Cluster) -> None:
        self.folder, self.env = deployed.folder, environment(**deployed.settings)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.begin(*args)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def begin(self, *args: str) -> subprocess.Popen[str]:
        """Begin to run it; Ctrl-C reaches it also where the tests run in the background."""
        program = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        program += "runpy.run_module('stepwell', run_name='__main__', alter_sys=True)"
        return subprocess.Popen(
            [sys.executable, "-c", program, *args],
            cwd=self.folder,
            env={**self.env, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Cluster]:
    workflows = {"hello": HELLO, "fails_once": FAILS_ONCE, "nothing": "steps: [{id: a, run: ['true']}]"}
    with RedisServer(tmp_path / "redis") as redis, cluster(tmp_path / "app", redis, workflows, workers=0) as made:
        yield made


def failed(deployed: Cluster, flag: Path) -> str:
    """The id of a task that a worker ran, and that failed; it would not fail again."""
    worker = deployed.worker()
    task_id: str = deployed.submit("fails_once", {"flag": str(flag)})["task_id"]
    deployed.until(task_id, "failed")
    worker.stop()
    return task_id


def workers_of(deployed: Cluster, task_id: str) -> list[str]:
    """Who made the attempts of the first step."""
    attempts: list[dict[str, Any]] = deployed.steps(task_id)[0]["history"]
    return [attempt["worker"] for attempt in attempts]


def horses_of(deployed: Cluster) -> set[str]:
    """The names of all work-horses."""
    workers: list[dict[str, Any]] = deployed.api.get("/workflows/workers").json()["items"]
    return {horse["name"] for worker in workers for horse in worker["horses"]}


def test_a_retry_is_run_by_a_worker_and_shown_to_its_end(deployed: Cluster, tmp_path: Path) -> None:
    task_id = failed(deployed, tmp_path / "flag")
    deployed.worker()
    horses = eventually(lambda: horses_of(deployed))
    ended = Terminal(deployed).run("retry", task_id, "--json")
    assert (ended.returncode, json.loads(ended.stdout)["status"]) == (0, "completed")
    assert "for a worker to run" in ended.stderr
    assert "a: completed" in ended.stderr
    first, second = workers_of(deployed, task_id)
    assert second in horses
    assert second != first


def test_a_retry_without_workers_says_so_and_is_left_queued_by_ctrl_c(deployed: Cluster, tmp_path: Path) -> None:
    task_id = failed(deployed, tmp_path / "flag")
    deployed.api.post("/workflows/queue/workflow_execute/pause")
    process = Terminal(deployed).begin("retry", task_id)
    assert process.stderr is not None
    told = "".join(process.stderr.readline() for _ in range(3))
    assert "no worker serves the queue 'workflow_execute'" in told
    assert "'workflow_execute' is paused" in told
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert f"task {task_id} goes on" in err
    assert deployed.task(task_id)["status"] == "queued"
    assert len(workers_of(deployed, task_id)) == 1


def test_a_task_of_this_host_is_retried_in_the_terminal_whether_redis_is_away_or_back(
    deployed: Cluster, tmp_path: Path
) -> None:
    deployed.redis.stop()
    answer = deployed.api.post(
        "/workflows/fails_once/execute?async_execute=true", {"variables": {"flag": str(tmp_path / "flag")}}
    ).json()
    assert (answer["status"], answer["degraded"]) == ("failed", True)
    away = Terminal(deployed).run("retry", answer["task_id"], "--json")
    assert (away.returncode, json.loads(away.stdout)["status"]) == (0, "completed")
    deployed.redis.start()
    eventually(lambda: deployed.api.get("/health").json()["degraded"] is None)
    back = Terminal(deployed).run("retry", answer["task_id"], "--from-step", "a", "--json")
    assert (back.returncode, json.loads(back.stdout)["status"]) == (0, "completed")
    assert len(set(workers_of(deployed, answer["task_id"]))) == 3


def test_run_runs_in_the_terminal_with_a_queue_too(deployed: Cluster) -> None:
    deployed.worker()
    ended = Terminal(deployed).run("run", "nothing", "--json")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["status"], document["max_retries"]) == (0, "completed", 0)
    (worker,) = workers_of(deployed, document["task_id"])
    assert ":" in worker  # work-horses have other names
    assert deployed.task(document["task_id"]) == {**document, "updated_at": document["updated_at"]}


def test_a_run_in_a_paused_queue_says_what_it_waits_for(deployed: Cluster) -> None:
    deployed.api.post("/workflows/queue/workflow_execute/pause")
    process = Terminal(deployed).begin("run", "nothing")
    assert process.stderr is not None
    assert "'workflow_execute' is paused" in process.stderr.readline()
    deployed.api.post("/workflows/queue/workflow_execute/resume")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err


def test_cancel_takes_a_task_from_the_workers(deployed: Cluster) -> None:
    task_id = deployed.submit("hello")["task_id"]
    ended = Terminal(deployed).run("cancel", task_id, "--json")
    assert (ended.returncode, json.loads(ended.stdout)["status"]) == (0, "cancelled")
    assert deployed.stats()["queue_size"] == 0
    deployed.worker()
    other = deployed.submit("hello")["task_id"]
    deployed.until(other, "completed")
    assert deployed.task(task_id)["status"] == "cancelled"
