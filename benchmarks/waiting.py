"""What a wait costs beside a step, and a child task beside a task: milliseconds and round trips to Redis.

    python -m benchmarks.waiting [--tasks 300] [--items 2000] [--rounds 3]

Everything runs on one redis-server (`appendfsync always`) that it starts itself. First one process does everything,
so that round trips can be counted; then one work-horse runs the same number of tasks and of items. The sides take
turns, and what counts is the ratio of their medians.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.servers import RedisServer

from stepwell.service import Submission
from stepwell.settings import load
from stepwell.task import Task
from stepwell.wiring import System, build

ROOT = Path(__file__).resolve().parents[1]
PAUSE = 2
"""Seconds of a wait: long enough to be worth a suspension."""

WORKFLOWS = {
    "step": "steps: [{id: nothing, output: 1}]",
    "wait": f"steps: [{{id: pause, wait: {PAUSE}s}}]",
    "items": "variables: {count: {type: integer}}\nsteps: [{id: each, foreach: range(variables.count), output: 1}]",
    "children": (
        "variables: {count: {type: integer}}\nsteps: [{id: each, queue: workflow_execute,"
        " foreach: {in: range(variables.count), max_parallel: 100}, output: 1}]"
    ),
}


@dataclass(frozen=True)
class Cost:
    """What one task takes: seconds, and calls to Redis."""

    seconds: float
    calls: float


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=300, help="tasks of one run that wait")
    parser.add_argument("--items", type=int, default=2000, help="items of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    given = parser.parse_args()
    print(f"Python {platform.python_version()} on {platform.machine()}, medians of {given.rounds} runs\n")
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name), appendfsync="always") as server:
        folder = Path(name)
        (folder / "workflows").mkdir()
        for workflow, text in WORKFLOWS.items():
            (folder / "workflows" / f"{workflow}.yaml").write_text(text, encoding="utf-8")
        with system_on(server, folder) as system:
            waits(system, server, given.tasks, given.rounds)
            fan_out(system, server, folder, given.items, given.rounds)


def waits(system: System, server: RedisServer, tasks: int, rounds: int) -> None:
    """A task that has one step, one that waits, up to its suspension and from there to its end; and waking."""
    found: dict[str, list[Cost]] = {"a step": [], "to wait": [], "to be woken": [], "to go on": []}
    for _ in range(rounds):
        found["a step"].append(cost(server, partial(run_all, system, submitted(system, "step", tasks)), tasks))
        waiting = submitted(system, "wait", tasks)
        found["to wait"].append(cost(server, partial(run_all, system, waiting), tasks))
        time.sleep(PAUSE)  # the last one is due
        found["to be woken"].append(cost(server, partial(wake_all, system, tasks), tasks))
        found["to go on"].append(cost(server, partial(run_all, system, waiting), tasks))
    middle = {name: statistics.median(cost.seconds for cost in costs) for name, costs in found.items()}
    print(f"{tasks} tasks, one after the other, in one process")
    for name, costs in found.items():
        calls = statistics.median(cost.calls for cost in costs)
        ratio = middle[name] / middle["a step"]
        print(f"  {name:12} {middle[name] * 1000:7.2f} ms  {calls:5.2f} round trips  {ratio:5.2f} × a task of one step")
    print()


def fan_out(system: System, server: RedisServer, folder: Path, items: int, rounds: int) -> None:
    """Items inside a task, as child tasks, and as tasks of their own, with one work-horse."""
    found: dict[str, list[float]] = {"tasks": [], "items": [], "children": []}
    with worker(server, folder):
        rate(system, 1, partial(submitted, system, "step", 1))  # until it works
        for _ in range(rounds):
            found["tasks"].append(rate(system, items, partial(submitted, system, "step", items)))
            for name in ("items", "children"):
                found[name].append(rate(system, items, partial(submitted, system, name, 1, {"count": items})))
    slowest = statistics.median(found["tasks"])
    print(f"{items:,} at a time, one work-horse")
    for name, rates in found.items():
        middle = statistics.median(rates)
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(f"  {name:12} {middle:7.0f} a second ({spread})  {middle / slowest:5.2f} × tasks")


def submitted(
    system: System, workflow: str, count: int, variables: Mapping[str, object] | None = None
) -> Sequence[Task]:
    """So many tasks of a workflow, queued."""
    definition, found = system.service.catalog.get(workflow), list[Task]()
    while len(found) < count:
        batch = [Submission(variables=dict(variables or {}))] * min(500, count - len(found))
        found += system.service.submit_many(definition, batch)
    return found


def run_all(system: System, tasks: Sequence[Task]) -> None:
    """Run tasks in this process, as far as they go."""
    for task in tasks:
        system.engine.run(task.task_id, lambda _: None)


def wake_all(system: System, count: int) -> None:
    """Wake all tasks that are due."""
    while count > 0:
        count -= len(system.store.wake())


def cost(server: RedisServer, run: Callable[[], None], count: int) -> Cost:
    """What something costs, for each of so many tasks. Every call to Redis is a script, or a command by itself."""
    before, begin = calls(server), time.perf_counter()
    run()
    seconds = time.perf_counter() - begin
    return Cost(seconds / count, (calls(server) - before) / count)


def calls(server: RedisServer) -> int:
    """How many scripts Redis has run."""
    stats: Mapping[str, Mapping[str, int]] = server.client().info("commandstats")
    return sum(about["calls"] for name, about in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))


def rate(system: System, count: int, submit: Callable[[], Sequence[Task]]) -> float:
    """How many a second, from the submission to the end of the last task."""
    begin = time.perf_counter()
    for task in submit():
        system.service.wait(task.task_id, timeout=600)
    return count / (time.perf_counter() - begin)


@contextmanager
def system_on(server: RedisServer, folder: Path) -> Iterator[System]:
    """What submits tasks, and runs them if it is asked to."""
    system = build(load(settings(server, folder), folder))
    try:
        yield system
    finally:
        system.stop()


@contextmanager
def worker(server: RedisServer, folder: Path) -> Iterator[None]:
    """A worker with one work-horse."""
    command, env = [sys.executable, str(ROOT / "run_worker.py")], {**os.environ, **settings(server, folder)}
    with (
        open(folder / "worker.log", "ab") as log,
        subprocess.Popen(command, env=env, stdout=log, stderr=log) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


def settings(server: RedisServer, folder: Path) -> dict[str, str]:
    """The environment of everything that works here."""
    return {
        "QUEUE_ENABLED": "true",
        "REDIS_URL": server.url,
        "MAX_WORKERS": "1",
        "QUEUE_MAX_SIZE": "1000000",
        "WORKFLOWS_DIR": str(folder / "workflows"),
        "FILES_URL": str(folder / "files"),
        "LOG_LEVEL": "ERROR",
    }


if __name__ == "__main__":
    main()
