"""What the engine itself costs: per step, per loaded step, and against an ideal schedule.

    python -m benchmarks.engine

Each figure is the median of several runs; rows that compare show ratios, which a noisy machine hardly changes.
"""

from __future__ import annotations

import hashlib
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.dag_shapes import Span, measured
from tests.dag_shapes import load as load_shape

from stepwell.ids import new_task_id
from stepwell.loader import load
from stepwell.ports import TaskStore
from stepwell.registry import action, actions
from stepwell.settings import Settings
from stepwell.stores.memory import MemoryStore
from stepwell.stores.sql import SqlStore
from stepwell.task import NewTask, Task
from stepwell.values import encode
from stepwell.wiring import System, build
from stepwell.workflow import Workflow

RUNS = 5
SLOTS = 8


@action("bench.nothing")
def nothing() -> None:
    """Do nothing, so that only the engine is left."""


@action("bench.work")
def work(seconds: float) -> None:
    """Hold a thread for a while without using the processor."""
    threading.Event().wait(seconds)


def main() -> None:
    """Measure and print everything."""
    print(f"Python {platform.python_version()} on {platform.machine()}, medians of {RUNS} runs\n")
    with tempfile.TemporaryDirectory() as folder:
        steps_cost(Path(folder))
        loading()
        schedule(Path(folder))


def steps_cost(folder: Path) -> None:
    """Sequences of steps that do nothing, on each store; the ratio of a long one to a short one."""
    memory = MemoryStore()
    for name, store in (("memory", memory), ("sqlite", SqlStore(f"sqlite:///{folder}/bench.db"))):
        system = _system(folder, store)
        cost = {count: _per_step(system, count) for count in (100, 1000, 10_000)}
        for count, seconds in cost.items():
            print(f"{name:8} {count:6} steps  {seconds * 1e6:8.1f} µs a step  {1 / seconds:8.0f} steps/s")
        print(f"{name:8} 10,000 against 100 steps: {cost[10_000] / cost[100]:.2f} ×\n")
        system.stop()


def loading() -> None:
    """YAML of 10,000 steps with `needs`, from text to checked workflow."""
    lines = ["steps:", "  - {id: s0, uses: log, with: {message: x}}"]
    lines += [f"  - {{id: s{n}, uses: log, with: {{message: x}}, needs: [s{n // 2}]}}" for n in range(1, 10_000)]
    text = "\n".join(lines)
    seconds = _median(lambda: _timed(lambda: load(text, "bench.yaml", registry=actions)))
    print(f"loading  10,000 steps from YAML: {seconds:.2f} s\n")


def schedule(folder: Path) -> None:
    """Montage (495 steps) on 8 slots against list scheduling of the durations that were measured."""
    shape = load_shape("montage-500.json").scaled(work=20.0)
    system = _system(folder, MemoryStore())
    ratios = []
    for _ in range(RUNS):
        task = _run(system, shape.workflow("bench.work", SLOTS))
        records = system.store.steps(task.task_id).items
        spans = {record.path: Span(record.started_at or 0, record.completed_at or 0) for record in records}
        makespan = max(span.end for span in spans.values()) - min(span.start for span in spans.values())
        ratios.append(makespan / measured(shape, spans).makespan(SLOTS))
    print(f"montage  495 steps, {SLOTS} slots: {statistics.median(ratios):.3f} × list scheduling")
    system.stop()


def _per_step(system: System, count: int) -> float:
    workflow = {"steps": [{"id": f"s{n}", "uses": "bench.nothing"} for n in range(count)]}
    return _median(lambda: _timed(lambda: _run(system, workflow))) / count


def _system(folder: Path, store: TaskStore) -> System:
    return build(Settings(workflows_dir=folder, files_url=str(folder / "files")), store=store)


def _run(system: System, workflow: dict[str, Any]) -> Task:
    text = Workflow.model_validate(workflow).model_dump_json(by_alias=True, exclude_unset=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    new = NewTask(new_task_id(), "bench", digest, text, "workflow_execute", 1, encode({}), 3600.0, 0)
    task, _ = system.store.create(new)
    ended: list[Task | None] = []
    system.engine.run(task.task_id, ended.append)
    assert ended[0] is not None
    assert ended[0].status == "completed", ended[0].error
    return ended[0]


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _median(measure: Callable[[], float]) -> float:
    measure()
    return statistics.median(measure() for _ in range(RUNS))


if __name__ == "__main__":
    main()
