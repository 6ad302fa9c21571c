"""Real workflow shapes (WfCommons, compacted) as steps, their ideal schedules, and a judge of what an engine did.

A shape is `{"name", "tasks": [{"id", "needs", "runtime"}]}` with runtimes in seconds.
"""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Span:
    """When a step ran, in seconds of any one clock."""

    start: float
    end: float


@dataclass(frozen=True)
class Shape:
    """A directed acyclic graph of tasks with their runtimes in seconds."""

    needs: Mapping[str, tuple[str, ...]]
    runtime: Mapping[str, float]

    def scaled(self, work: float) -> Shape:
        """The same shape, its runtimes together `work` seconds."""
        factor = work / sum(self.runtime.values())
        return Shape(self.needs, {task: seconds * factor for task, seconds in self.runtime.items()})

    def workflow(self, action: str, slots: int) -> dict[str, Any]:
        """A workflow with a step for each task: `uses: action` with the input `seconds`."""
        steps = [
            {"id": task, "uses": action, "with": {"seconds": self.runtime[task]}, "needs": list(needs)}
            for task, needs in self.needs.items()
        ]
        return {"name": "shape", "max_parallel": slots, "steps": steps}

    def makespan(self, slots: int) -> float:
        """Of list scheduling (the longest way to the end first) on equal workers, without any overhead."""
        after: dict[str, list[str]] = defaultdict(list)
        for task, needs in self.needs.items():
            for need in needs:
                after[need].append(task)
        level = self._levels(after)
        left = {task: len(needs) for task, needs in self.needs.items()}
        ready = [(-level[task], task) for task, count in left.items() if not count]
        heapq.heapify(ready)
        running: list[tuple[float, str]] = []
        now = 0.0
        while ready or running:
            while ready and len(running) < slots:
                _, task = heapq.heappop(ready)
                heapq.heappush(running, (now + self.runtime[task], task))
            now, ended = heapq.heappop(running)
            for task in after[ended]:
                left[task] -= 1
                if not left[task]:
                    heapq.heappush(ready, (-level[task], task))
        return now

    def _levels(self, after: Mapping[str, list[str]]) -> dict[str, float]:
        level: dict[str, float] = {}
        todo = list(self.needs)
        while todo:
            task = todo[-1]
            missing = [later for later in after.get(task, ()) if later not in level]
            if missing:
                todo.extend(missing)
                continue
            todo.pop()
            level[task] = self.runtime[task] + max((level[later] for later in after.get(task, ())), default=0.0)
        return level


def load(name: str) -> Shape:
    """A shape of `tests/data`."""
    tasks = json.loads((DATA / name).read_text(encoding="utf-8"))["tasks"]
    return Shape(
        {task["id"]: tuple(task["needs"]) for task in tasks},
        {task["id"]: float(task["runtime"]) for task in tasks},
    )


def violations(shape: Shape, trace: Mapping[str, Span], slots: int) -> list[str]:
    """What an engine did wrong: steps that never ran, or ran unknown, too early, or too many at once."""
    found = [f"{task} never ran" for task in shape.needs if task not in trace]
    found += [f"{task} is unknown" for task in trace if task not in shape.needs]
    found += [
        f"{task} began before {need} had ended"
        for task, needs in shape.needs.items()
        for need in needs
        if task in trace and need in trace and trace[task].start < trace[need].end
    ]
    if (peak := most_at_once(trace)) > slots:
        found.append(f"{peak} steps at once, {slots} allowed")
    return found


def most_at_once(trace: Mapping[str, Span]) -> int:
    """The greatest number of spans that overlap."""
    turns = sorted([(span.start, 1) for span in trace.values()] + [(span.end, -1) for span in trace.values()])
    now = peak = 0
    for _, change in turns:
        now += change
        peak = max(peak, now)
    return peak


def measured(shape: Shape, trace: Mapping[str, Span]) -> Shape:
    """The shape with the runtimes that its steps really had."""
    return Shape(shape.needs, {task: span.end - span.start for task, span in trace.items()})
