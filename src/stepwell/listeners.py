"""Functions of yours that are told what the engine of this process does: for metrics, alerts, hooks."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from queue import Full, Queue
from typing import Any, TypeVar

from stepwell.errors import did_you_mean

log = logging.getLogger(__name__)

KINDS = (
    *("task.started", "task.queued", "task.waiting", "task.completed", "task.failed", "task.cancelled"),
    *("step.started", "step.waiting", "step.retrying", "step.completed", "step.failed", "step.skipped"),
    *("step.cancelled", "log"),
)
"""What a process tells of the tasks that it runs."""

MAX_WAITING = 10_000
"""Events that wait for one listener; beyond that it misses some, and the log tells."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a task, as listeners are told of it. `at` is in seconds since 1970, by the store's clock."""

    kind: str
    task_id: str
    workflow_id: str
    at: float
    path: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


Function = TypeVar("Function", bound=Callable[[Told], object])


class Listener:
    """One function on a thread of its own, so that it holds up neither steps nor other listeners."""

    def __init__(self, pattern: str, function: Callable[[Told], object]) -> None:
        self.pattern, self.function = pattern, function
        self._waiting: Queue[Told] = Queue(MAX_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._missed = 0

    def tell(self, told: Told) -> None:
        """Have it told soon; a listener that is far behind misses this one."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # also in a process that was forked
                self._thread = threading.Thread(target=self._listen, name=f"stepwell-on-{self.pattern}", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(told)
        except Full:
            self._missed += 1
            if self._missed == 1:
                log.warning("the listener %s is %d events behind and misses some", self._name, MAX_WAITING)

    def settle(self) -> None:
        """Wait until it has been told everything so far."""
        self._waiting.join()

    @property
    def _name(self) -> str:
        return f"{self.function.__module__}.{getattr(self.function, '__qualname__', self.function)}"

    def _listen(self) -> None:
        while True:
            told = self._waiting.get()
            try:
                self.function(told)
            except Exception:  # code of others: it breaks nothing but itself
                log.exception("the listener %s failed at %s of task %s", self._name, told.kind, told.task_id)
            finally:
                self._waiting.task_done()


class Listeners:
    """The functions that `@on` registered."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._listeners)

    def add(self, pattern: str, function: Callable[[Told], object]) -> None:
        """Register a function for the kinds of events that a pattern names. Raises `TypeError` for a coroutine, and
        `ValueError` for a pattern that names none."""
        if not any(fnmatchcase(kind, pattern) for kind in KINDS):
            raise ValueError(f"{pattern!r} names no event{did_you_mean(pattern, KINDS)}: write task.failed or step.*")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__qualname__} is async: a listener is a plain function, on its own thread")
        self._listeners.append(Listener(pattern, function))

    def tell(self, told: Told) -> None:
        """Have everybody told whose pattern fits."""
        for listener in self._listeners:
            if fnmatchcase(told.kind, listener.pattern):
                listener.tell(told)

    def settle(self) -> None:
        """Wait until everybody has been told everything so far."""
        for listener in self._listeners:
            listener.settle()


listeners = Listeners()
"""The listeners that `@on` fills."""


def on(pattern: str) -> Callable[[Function], Function]:
    """Register a function for events of the engine: `@on("task.failed")`, `@on("step.*")`. It is given a `Told`."""
    if not isinstance(pattern, str):
        raise TypeError('write @on("task.failed"): it needs to know of which events to tell')

    def register(function: Function) -> Function:
        listeners.add(pattern, function)
        return function

    return register
