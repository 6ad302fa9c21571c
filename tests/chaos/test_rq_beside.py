"""RQ's own tools at our queues: jobs deleted and doubled behind our back, `rq suspend`, `rq info`, stock workers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.cluster import TASKS, Worker
from tests.acceptance.serving import eventually
from tests.chaos.inside import effects
from tests.chaos.load import Load, load
from tests.servers import RedisServer

LIMIT = 15.0
"""Seconds after which a task runs although its job was deleted."""

QUEUE = "workflow_execute"
RQ = str(Path(sys.executable).with_name("rq"))


class StockWorker(Worker):
    """A running `rq worker`, which knows nothing of us."""

    def command(self) -> list[str]:
        lines = [f"{QUEUE}{suffix}" for suffix in (":urgent", ":high", "", ":low")]
        return ["env", "-C", str(self._workdir), RQ, "worker", "--serializer", "json", "--url", self._url, *lines]

    def answers(self) -> bool:
        return "Listening on" in self.log

    @property
    def _url(self) -> str:
        return self._env["REDIS_URL"]


def rq(command: str, redis: RedisServer) -> str:
    """What a command of RQ prints."""
    return subprocess.run([RQ, command, "--url", redis.url], check=True, capture_output=True, text=True).stdout


@contextmanager
def watching(redis: RedisServer) -> Iterator[None]:
    """Inside, `rq info` runs again and again, and each time tidies up RQ's registries."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            assert "queues" in rq("info", redis)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_deleted_and_doubled_jobs_run_once_and_none_while_suspended(tmp_path: Path, redis: RedisServer) -> None:
    with load(tmp_path, redis, LEASE_SECONDS="10") as made:
        rq("suspend", redis)
        first, *ids = made.submit(13)
        client, line = redis.client(), f"rq:queue:{QUEUE}"
        for task_id in ids[:4]:
            client.delete(f"rq:job:{task_id}")
            assert client.lrem(line, 0, task_id) == 1
        for task_id in ids[4:8]:
            client.rpush(line, task_id, task_id)
        answer = made.deployed.api.post(f"{TASKS}/{first}/cancel")  # a task that runs would refuse
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        del made.accepted[first]
        rq("resume", redis)
        resumed_at = time.time()
        made.judge()
        late = [effect.at - resumed_at for effect in effects.read(made.log) if effect.task_id in ids]
        assert 0 < min(late) < max(late) <= LIMIT


def test_stock_workers_and_rq_info_beside_ours_under_load(tmp_path: Path, redis: RedisServer) -> None:
    with load(tmp_path, redis, MAX_WORKERS="1") as made:
        settings = {**made.deployed.settings}
        with StockWorker(tmp_path / "stock", made.deployed.folder, **settings) as stock, watching(redis):
            with made.going_on():
                for command in ("suspend", "resume", "suspend", "resume"):
                    made.until_more(10)
                    rq(command, redis)
                eventually(lambda: ran_by(made, stock) > 3)
            made.judge()
            assert ran_by(made, stock) < len(made.accepted)


def ran_by(made: Load, stock: StockWorker) -> int:
    """How many jobs the stock worker has done."""
    return stock.log.count("Job OK")
