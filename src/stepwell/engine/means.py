"""What every run of an engine shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stepwell.engine.clock import Clock
from stepwell.engine.names import MakeNames
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.plan import Node
from stepwell.ports import FileStore, TaskStore
from stepwell.registry import Action


@dataclass(frozen=True)
class Means:
    """The parts that an engine works with; `worker` is its name in records."""

    store: TaskStore
    files: FileStore
    names: MakeNames
    resolve: Callable[[Node], Action]
    worker: str
    threads: Threads
    watchdog: Watchdog
    clock: Clock
    lease_seconds: float
    interactive: bool = False
