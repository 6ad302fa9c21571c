"""Holds what happened against the invariants: what was promised for every task, whatever was killed or cut off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import redis
from tests.chaos.inside.effects import Effect

ALLOWED = re.compile(
    r"stepwell:(task|steps|order|values|files|workflow|external|label|dead|mail|mail_index|children|crews):.*"
    r"|stepwell:(list|child):(completed|failed|cancelled):.*"
    r"|stepwell:(ended|keys|audit)"
    r"|rq:(job|results):.*|rq:(finished|failed|canceled):.*"
    r"|stepwell:presence:.*"
)
"""The keys that may name an ended task: what the record is made of and found by, RQ's registries of ended jobs, and
what a killed worker last showed of itself."""

EXACTNESS = 0.001
"""Seconds by which a time that the API shows may be too early."""


@dataclass(frozen=True)
class Ended:
    """A task as the API shows it when all is over: its record and events; and of a run without faults the outputs, and
    the paths of the steps that leave effects."""

    record: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    outputs: Any
    paths: Sequence[str]

    @property
    def task_id(self) -> str:
        """The task's id."""
        return str(self.record["task_id"])


@dataclass(frozen=True)
class Evidence:
    """All that a test saw. `faults`: how often a task may have been interrupted, `everywhere` if any task may have
    been; `zombies` are processes that were stopped in the middle of a step."""

    tasks: Sequence[Ended]
    effects: Sequence[Effect]
    faults: Mapping[str, int] = field(default_factory=dict)
    everywhere: int = 0
    zombies: Collection[int] = ()
    left: Collection[str] = ()


def violations(seen: Evidence) -> list[str]:
    """Everything that breaks a promise; empty if all is well."""
    by_task: dict[str, list[Effect]] = {task.task_id: [] for task in seen.tasks}
    strays = [effect for effect in seen.effects if effect.task_id not in by_task]
    for effect in seen.effects:
        by_task.get(effect.task_id, []).append(effect)
    found = [f"{effect.path} of task {effect.task_id} ran, but nobody was told of that task" for effect in strays]
    for task in seen.tasks:
        most = 1 + seen.everywhere + seen.faults.get(task.task_id, 0)
        problems = [*_ending(task), *_runs(task, by_task[task.task_id], most, seen)]
        found += [f"task {task.task_id}: {problem}" for problem in problems]
    return [*found, *(f"left behind: {entry}" for entry in seen.left)]


def leftovers(client: redis.Redis, ended: Collection[str]) -> list[str]:
    """Where Redis still names ended tasks outside of their records: leases, timers, lists, registries of live jobs."""
    return [
        f"{task_id} in {key}"
        for key in sorted(str(found, "utf-8") for found in client.scan_iter(count=1000))
        if not ALLOWED.fullmatch(key)
        for text in [f"{key} {_content(client, key)}"]
        for task_id in ended
        if task_id in text
    ]


def _ending(task: Ended) -> Iterator[str]:
    record = task.record
    if record["status"] != "completed":
        yield f"it is {record['status']}, not completed: {record.get('error')}"
    elif record["result"]["outputs"] != task.outputs:
        yield f"its outputs are {record['result']['outputs']} instead of {task.outputs}"
    endings = [event["kind"] for event in task.events if event["kind"] in ("task.completed", "task.failed")]
    if len(endings) > 1:
        yield f"it ended more than once: {endings}"
    if record["retry_count"]:
        yield f"a fault was counted as {record['retry_count']} retries"


def _runs(task: Ended, effects: Sequence[Effect], most: int, seen: Evidence) -> Iterator[str]:
    committed = {event["path"]: _seconds(event["at"]) for event in task.events if event["kind"] == "step.completed"}
    told = Counter(event["path"] for event in task.events if event["kind"] == "step.completed")
    runs = Counter(effect.path for effect in effects)
    for path in sorted({*task.paths, *runs}):
        if not 1 <= runs[path] <= most:
            yield f"{path} ran {runs[path]} times instead of 1 to {most}"
        if told[path] != 1:
            yield f"{path} was committed {told[path]} times"
    for effect in effects:
        if effect.at > committed.get(effect.path, effect.at) + EXACTNESS and effect.pid not in seen.zombies:
            yield f"{effect.path} ran again after its commit (attempt {effect.attempt}, process {effect.pid})"


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _content(client: redis.Redis, key: str) -> str:
    """Everything under a key, as text."""
    kind: Any = client.type(key)
    readers: Mapping[str, Any] = {
        "string": lambda: client.get(key),
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1),
        "hash": lambda: client.hgetall(key),
        "stream": lambda: client.xrange(key),
        "none": lambda: "",
    }
    return str(readers[kind.decode()]())
