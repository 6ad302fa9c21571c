"""What Prometheus reads: its own tool has nothing to say against it, and the dashboard asks only for what is there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.serving import HELLO, ROOT, Server, eventually
from tests.programs import required
from tests.servers import RedisServer

DASHBOARD = ROOT / "deploy" / "grafana" / "stepwell.json"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("metrics")
    with RedisServer(folder / "redis") as redis, cluster(folder / "app", redis, {"hello": HELLO}) as made:
        made.until(made.submit("hello")["task_id"], "completed")
        yield made


def test_promtool_finds_nothing_wrong(deployed: Cluster) -> None:
    answer = deployed.api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    checked = subprocess.run(
        [required("promtool", "prometheus"), "check", "metrics"], input=answer.text, text=True, capture_output=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_metrics_tell_of_the_queue_and_who_works_it_off(deployed: Cluster) -> None:
    metrics = deployed.api.get("/metrics").text
    for line in (
        'stepwell_tasks_ended_total{queue="workflow_execute",status="completed"} 1.0',
        'stepwell_tasks_created_total{queue="workflow_execute"} 1.0',
        'stepwell_queued_tasks{priority="urgent",queue="workflow_execute"} 0.0',
        "stepwell_workers 1.0",
        "stepwell_store_up 1.0",
        "stepwell_degraded 0.0",
    ):
        assert line in metrics.splitlines()
    eventually(lambda: _horses(deployed.api.get("/metrics").text) == 2)


def test_the_dashboard_asks_only_for_metrics_that_there_are(deployed: Cluster) -> None:
    told = set(re.findall(r"^(stepwell_\w+)", deployed.api.get("/metrics").text, re.MULTILINE))
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    asked = {name for panel in dashboard["panels"] for name in _metrics_in(panel["targets"])}
    assert asked <= told
    assert told - asked <= {"stepwell_inline_running", "stepwell_inline_waiting", "stepwell_queue_paused"} | {
        "stepwell_diverted_tasks_total"
    }


def test_an_inline_server_has_the_same_metrics(shared: Server) -> None:
    shared.post("/workflows/hello/execute")
    metrics = shared.get("/metrics").text
    assert "stepwell_store_up 1.0" in metrics
    assert 'stepwell_tasks_ended_total{queue="workflow_execute",status="completed"}' in metrics


def test_without_its_store_it_still_answers(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis, cluster(tmp_path / "app", redis, {}, workers=0) as deployed:
        redis.kill()
        deployed.api.get("/workflows/queue/stats")
        metrics = deployed.api.get("/metrics")
        assert metrics.status_code == 200
        assert {"stepwell_store_up 0.0", "stepwell_degraded 1.0"} <= set(metrics.text.splitlines())


def _horses(metrics: str) -> int:
    return sum(map(int, re.findall(r'^stepwell_work_horses\{state="\w+"\} (\d)', metrics, re.MULTILINE)))


def _metrics_in(targets: list[dict[str, Any]]) -> Iterator[str]:
    for target in targets:
        yield from re.findall(r"stepwell_\w+", target["expr"])
