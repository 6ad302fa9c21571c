"""What the steps of the tests call: each leaves a line in a log, so that a test sees what ran, and how often."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.inside import crashes

from stepwell.ports import Context


@dataclass(frozen=True)
class Effect:
    """An attempt of a step that did what it does; `at` in seconds since 1970."""

    task_id: str
    path: str
    attempt: int
    pid: int
    at: float


def read(log: Path) -> list[Effect]:
    """All effects so far, in the order in which they happened."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [Effect(task_id, path, int(attempt), int(pid), float(at)) for task_id, path, attempt, pid, at in lines]


def leave(log: str, value: int, context: Context) -> int:
    """Answer the value, and leave an effect."""
    crashes.reach("step:before", context.task_id)
    _write(log, context)
    crashes.reach("step:after", context.task_id)
    return value


def hold(log: str, gate: str, context: Context) -> None:
    """Leave an effect, and run until the file `gate` is there."""
    _write(log, context)
    while not os.path.exists(gate) and not context.cancelled:
        time.sleep(0.005)


def poison(log: str, context: Context) -> None:
    """Leave an effect, and kill the process."""
    _write(log, context)
    os.kill(os.getpid(), signal.SIGKILL)


def _write(log: str, context: Context) -> None:
    line = f"{context.task_id} {context.path} {context.attempt} {os.getpid()} {time.time()}\n"
    crashes.append(Path(log), line.encode())
