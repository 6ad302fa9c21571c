"""What every run of an engine shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stepwell.engine.clock import Clock
from stepwell.engine.context import Publish
from stepwell.engine.leases import Claims
from stepwell.engine.names import MakeNames
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.listeners import Listeners
from stepwell.plan import Node
from stepwell.ports import FileStore, TaskStore
from stepwell.registry import Action
from stepwell.secrets import Cipher


@dataclass(frozen=True)
class Means:
    """The parts that an engine works with; `worker` is its name in records.

    `claims` keeps the leases, by default a thread of this process. `hands_back`: other workers may know an action, a
    definition or a format that this one does not, so such a task is handed back to them. `on_abandoned` is called
    when code that did not yield to its limit was given up: it goes on beside all that comes after. During pauses of
    `suspend_after` seconds and more a task that has nothing else to do is suspended. `cipher` encrypts the secrets that
    child tasks are given, `listeners` are told what runs have written.
    `queues` are those that workers serve; None where no worker need.
    """

    store: TaskStore
    files: FileStore
    names: MakeNames
    resolve: Callable[[Node], Action]
    publish: Publish
    worker: str
    threads: Threads
    watchdog: Watchdog
    clock: Clock
    lease_seconds: float
    interactive: bool = False
    claims: Claims | None = None
    hands_back: bool = False
    suspend_after: float = 5.0
    on_abandoned: Callable[[], None] = lambda: None
    cipher: Cipher = field(default_factory=lambda: Cipher(None))
    listeners: Listeners = field(default_factory=Listeners)
    queues: Sequence[str] | None = None
