"""`RESULT_TTL` after the end nothing of a task is left in Redis, whatever it was and however it ended."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tests.acceptance.cluster import TASKS, Cluster, cluster
from tests.acceptance.serving import HELLO, Gate, eventually
from tests.faults.clock import ShiftedClock
from tests.servers import RedisServer

WEEK = 7 * 24 * 3600
LARGE = "x" * 100_000
"""More than is kept within a record."""

RICH = """
variables: {text: {type: string, default: ""}}
labels: {team: shop}
steps:
  - id: echo
    output: "${{ variables.text }}"
  - id: keep
    run: echo kept > kept.txt
    files: [kept.txt]
  - id: many
    foreach: range(150)
    output: "${{ item }}"
outputs: {text: "${{ steps.echo.output }}"}
"""
FAILS = "steps: [{id: a, uses: fail, with: {message: no, retryable: false}}]"
CANCELLED = """
variables: {gate: {type: string, required: true}}
steps:
  - id: hold
    run: cat "$GATE"
    env: {GATE: "${{ variables.gate }}"}
finally: [{id: tidy, output: 1}]
"""
WORKFLOWS = {"hello": HELLO, "rich": RICH, "fails": FAILS, "held": CANCELLED}


def sizes(server: RedisServer) -> dict[str, int]:
    """All keys; of hashes, but for that of the totals, with how much they hold."""
    client = server.client()
    found = [str(key, "utf-8") for key in cast(list[bytes], client.keys("*"))]
    return {key: client.hlen(key) if client.type(key) == b"hash" and "totals" not in key else 0 for key in found}


def settled(server: RedisServer) -> bool:
    """Whether what has a short life of its own is over: counts by the minute, and hints for idle work-horses."""
    return not any(":pace:" in key or ":wake:" in key for key in sizes(server))


def purge(deployed: Cluster, clock: ShiftedClock, weeks: int) -> None:
    """Let a week go by; a worker that starts looks at once for what is old. All workers are gone at the end."""
    clock.shift(weeks * (WEEK + 60))
    worker = deployed.worker()
    eventually(lambda: deployed.api.get(f"{TASKS}?limit=1").json()["items"] == [])
    assert worker.stop() == 0


def use_all(deployed: Cluster, folder: Path) -> None:
    """Tasks of every kind, until each has ended in its way."""
    worker = deployed.worker()
    api = deployed.api
    more = {"external_id": "order-7", "labels": {"a": "b"}}
    rich = deployed.submit("rich", {"text": LARGE}, **more)["task_id"]
    failed = deployed.submit("fails")["task_id"]
    twice = [
        api.post("/workflows/hello/execute?async_execute=true", headers={"Idempotency-Key": "key"}).json()["task_id"]
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
    batch = api.post("/workflows/hello/execute/batch", {"items": [{}] * 20}).json()["items"]
    inline = api.post("/workflows/rich/execute", {"variables": {"text": LARGE}}).json()["task_id"]
    for task_id in (rich, twice[0], inline, *(item["task_id"] for item in batch)):
        deployed.until(task_id, "completed")
    deployed.until(failed, "failed")
    gate = Gate(folder / "gate")
    running = deployed.submit("held", {"gate": str(gate.path)})["task_id"]
    with gate.held():
        assert api.post(f"{TASKS}/{running}/cancel?force=true").status_code == 202
        deployed.until(running, "cancelled")
    later = deployed.submit("hello", delay="1h")["task_id"]
    assert api.post(f"{TASKS}/{later}/cancel").status_code == 200
    assert worker.stop() == 0


def test_all_keys_of_ended_tasks_go(tmp_path: Path, shifted_clock: ShiftedClock) -> None:
    with RedisServer(tmp_path / "redis", appendfsync="always", env=shifted_clock.env) as server:
        shifted = dict(shifted_clock.env)
        with cluster(tmp_path / "app", server, WORKFLOWS, workers=0, **shifted) as deployed:
            worker = deployed.worker()
            deployed.until(deployed.submit("hello")["task_id"], "completed")
            deployed.until(deployed.submit("fails")["task_id"], "failed")
            deployed.api.post("/workflows/hello/execute")
            assert worker.stop() == 0
            purge(deployed, shifted_clock, weeks=1)
            eventually(lambda: settled(server))
            before = sizes(server)
            use_all(deployed, tmp_path)
            assert server.client().dbsize() > len(before) + 30
            purge(deployed, shifted_clock, weeks=2)
            eventually(lambda: settled(server))
            assert sizes(server) == before
            assert server.client().dbsize() == len(before)
