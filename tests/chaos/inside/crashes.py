"""Crash points: places at which a work-horse kills itself, the n-th time that any process of a test comes there.

The environment names them: `STEPWELL_CHAOS` a folder for counts, `STEPWELL_CHAOS_PLAN` as JSON the numbers for each
point, `{"commit:before": [3, 9]}`. A crash is written down right before it happens.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLANNED: Mapping[str, Sequence[int]] = json.loads(os.environ.get("STEPWELL_CHAOS_PLAN", "{}"))

POINTS = {
    "claim:before": "",
    "claim:after": "",
    "step:before": "in the middle of a step",
    "step:after": "after the effect, before the commit",
    "commit:before": "",
    "commit:after": "before its reply is known",
    "confirm:before": "between steps",
    "finish:before": "",
    "finish:after": "",
}
"""Every point, and what is meant where the name does not say it."""

MOST = 2
"""So often a task may be hit: after a third crash without a committed step it would be a dead letter."""

_METHODS = {"take": "claim", "commit": "commit", "finish": "finish"}


@dataclass(frozen=True)
class Crash:
    """A process that killed itself; `task_id` is `-` where no task was at hand, `at` in seconds since 1970."""

    point: str
    task_id: str
    pid: int
    at: float


def read(folder: Path) -> list[Crash]:
    """The crashes that happened."""
    file = folder / "crashes"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [Crash(point, task_id, int(pid), float(at)) for point, task_id, pid, at in lines]


def reach(point: str, task_id: str = "-") -> None:
    """Die, if it is time."""
    if point not in PLANNED:
        return
    folder = Path(os.environ["STEPWELL_CHAOS"])
    reached = append(folder / point, b".")
    due = sum(reached >= number for number in PLANNED[point])
    crashes = read(folder)
    if due > _count(crashes, point=point) and (task_id == "-" or _count(crashes, task_id=task_id) < MOST):
        append(folder / "crashes", f"{point} {task_id} {os.getpid()} {time.time()}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def append(file: Path, text: bytes) -> int:
    """Append to a file in one piece; answers its size right after that."""
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(opened, text)
        return os.lseek(opened, 0, os.SEEK_CUR)
    finally:
        os.close(opened)


def arm() -> None:
    """Have this process, and those that it forks, come by all points."""
    from stepwell.stores.redis import RedisStore
    from stepwell.worker.lanes import Lanes

    for method, point in _METHODS.items():
        setattr(RedisStore, method, _watched(getattr(RedisStore, method), point))
    Lanes.confirm = _watched(Lanes.confirm, "confirm")  # type: ignore[method-assign]


def _watched(method: Callable[..., Any], point: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def watched(self: object, *args: Any) -> Any:
        task_id = "-" if point == "claim" else args[0]
        reach(f"{point}:before", task_id)
        answer = method(self, *args)
        if point != "claim":
            reach(f"{point}:after", task_id)
        elif answer is not None:
            reach(f"{point}:after", answer.task.task_id)
        return answer

    return watched


def _count(crashes: Sequence[Crash], **like: str) -> int:
    return sum(all(getattr(crash, name) == value for name, value in like.items()) for crash in crashes)
