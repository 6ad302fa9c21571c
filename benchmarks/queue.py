"""Stepwell's queue beside RQ's own workers: tasks a second, what a full queue costs, and bytes a task.

    python -m benchmarks.queue [--tasks 1000] [--queued 100000] [--rounds 3]

Everything runs on one redis-server that it starts itself. Each side has one process that works; the sides take turns,
and what counts is the ratio of their medians. Results of ours are kept in the store, results of RQ in its way.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
from tests.servers import RedisServer

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 20
QUEUE = "workflow_execute"
NOTHING = "steps: [{id: nothing, output: 1}]\noutputs: {n: '${{ steps.nothing.output }}'}\n"


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of one run")
    parser.add_argument("--queued", type=int, default=100_000, help="tasks of the full queue; 0 leaves that part out")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    given = parser.parse_args()
    print(f"Python {platform.python_version()} on {platform.machine()}, medians of {given.rounds} runs\n")
    for fsync in ("always", "everysec"):
        with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), appendfsync=fsync) as server:
            throughput(server, Path(folder), fsync, given.tasks, given.rounds)
    if given.queued:
        with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
            full_queue(server, Path(folder), given.queued)


def throughput(server: RedisServer, folder: Path, fsync: str, tasks: int, rounds: int) -> None:
    """Tasks a second of one working process, from a queue that is full at the start."""
    (folder / "workflows").mkdir()
    (folder / "workflows" / "nothing.yaml").write_text(NOTHING, encoding="utf-8")
    sides: dict[str, Callable[[int], float]] = {
        "rq.Worker": lambda count: _rq(server, folder, "rq.Worker", min(count, 300)),
        "rq.SimpleWorker": lambda count: _rq(server, folder, "rq.SimpleWorker", count),
        "stepwell": lambda count: _stepwell(server, folder, count),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            server.client().flushall()
            found[name].append(side(tasks))
    print(f"appendfsync {fsync}")
    slowest = statistics.median(found["rq.Worker"])
    for name, rates in found.items():
        rate = statistics.median(rates)
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(f"  {name:16} {rate:7.0f} tasks/s ({spread})  {rate / slowest:5.1f} × rq.Worker")
    print()


def full_queue(server: RedisServer, folder: Path, queued: int) -> None:
    """What single calls cost with many queued tasks, against an empty system; and the memory of a task."""
    (folder / "workflows").mkdir()
    (folder / "workflows" / "nothing.yaml").write_text(NOTHING, encoding="utf-8")
    with _system(server, folder) as system:
        empty = _calls(system)
        before = server.client().info("memory")["used_memory"]
        _submit(system, queued)
        grown = server.client().info("memory")["used_memory"] - before
        full = _calls(system)
    print(f"{queued:,} queued tasks: {grown / queued:.0f} bytes a task in Redis, RQ's job and all indices included")
    for name, seconds in full.items():
        print(f"  {name:8} {seconds * 1e6:8.0f} µs, {seconds / empty[name]:.2f} × an empty system")


def _calls(system: Any) -> dict[str, float]:
    """The median seconds of each kind of call; empty and full take turns with nothing else running."""
    from stepwell.ports import TaskFilter
    from stepwell.service import Submission

    definition, service = system.service.catalog.get("nothing"), system.service
    ids = [service.submit(definition, Submission()).task_id for _ in range(200)]
    return {
        "submit": _median(lambda _: service.submit(definition, Submission()), ids),
        "status": _median(service.get, ids),
        "stats": _median(lambda _: system.operations.stats(), ids),
        "list": _median(lambda _: service.tasks(TaskFilter(), 50), ids),
        "cancel": _median(service.cancel, ids),
    }


def _median(call: Callable[[str], Any], ids: list[str]) -> float:
    return statistics.median(_timed(partial(call, id_)) for id_ in ids)


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _submit(system: Any, count: int) -> None:
    from stepwell.service import Submission

    definition = system.service.catalog.get("nothing")
    for start in range(0, count, 500):
        system.service.submit_many(definition, [Submission()] * min(500, count - start))


@contextmanager
def _system(server: RedisServer, folder: Path) -> Iterator[Any]:
    from stepwell.settings import load
    from stepwell.wiring import build

    system = build(load(_settings(server, folder), folder))
    try:
        yield system
    finally:
        system.stop()


def _settings(server: RedisServer, folder: Path) -> dict[str, str]:
    return {
        "QUEUE_ENABLED": "true",
        "REDIS_URL": server.url,
        "MAX_WORKERS": "1",
        "QUEUES": QUEUE,
        "QUEUE_MAX_SIZE": "1000000",
        "WORKFLOWS_DIR": str(folder / "workflows"),
        "FILES_URL": str(folder / "files"),
        "LOG_LEVEL": "WARNING",
    }


def _stepwell(server: RedisServer, folder: Path, tasks: int) -> float:
    with _system(server, folder) as system:

        def done() -> int:
            return int(system.store.counts().get(QUEUE, {}).get("completed_total", 0))

        _submit(system, tasks + WARM_UP)
        command = [sys.executable, str(ROOT / "run_worker.py")]
        return _rate(command, {**os.environ, **_settings(server, folder)}, folder, done, tasks)


def _rq(server: RedisServer, folder: Path, worker: str, tasks: int) -> float:
    import rq
    from rq.serializers import JSONSerializer

    connection: redis.Redis = server.client()
    queue = rq.Queue("bench", connection=connection, serializer=JSONSerializer)
    for _ in range(tasks + WARM_UP):
        queue.enqueue("time.time", result_ttl=7 * 86400)
    command = [sys.executable, "-m", "rq.cli", "worker", "bench", "--url", server.url, "--worker-class", worker]
    command += ["--serializer", "json", "--quiet"]
    return _rate(
        command, dict(os.environ), folder, lambda: queue.finished_job_registry.get_job_count(cleanup=False), tasks
    )


def _rate(command: list[str], env: dict[str, str], folder: Path, done: Callable[[], int], tasks: int) -> float:
    """Tasks a second between the end of the warm-up and the last task, by a worker that is started for it."""
    with open(folder / "worker.log", "ab") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as worker:
        try:
            first, begin = _reached(done, WARM_UP, worker)
            last, end = _reached(done, WARM_UP + tasks, worker)
        finally:
            worker.terminate()
    return (last - first) / (end - begin)


def _reached(done: Callable[[], int], count: int, worker: subprocess.Popen[bytes]) -> tuple[int, float]:
    while (found := done()) < count:
        if worker.poll() is not None:
            raise SystemExit(f"the worker ended with {worker.returncode}: see its log")
        time.sleep(0.005)
    return found, time.perf_counter()


if __name__ == "__main__":
    main()
