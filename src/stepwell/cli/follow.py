"""What is known of a running task's steps, kept up to date from its events alone, so that looking costs little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from stepwell.cli.waits import wait_text
from stepwell.errors import NotFound
from stepwell.ports import TaskStore
from stepwell.task import Event, StepRecord, StepStatus
from stepwell.values import decode

BATCH = 1000
"""Events read at a time."""

_STATUS = {
    "step.started": "running",
    "step.retrying": "retrying",
    "step.waiting": "waiting",
    "step.completed": "completed",
    "step.failed": "failed",
    "step.skipped": "skipped",
    "step.cancelled": "cancelled",
}
CREWS = 5
"""Steps whose children are counted at each look."""

ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})


@dataclass(slots=True)
class Seen:
    """One step as it is shown. `parts` counts its items or rounds by status, `total` is how many items there are;
    `waited`: what it does now it does after a wait.

    `status` is that of a step record, or `retrying` between two attempts. `note` is its last log line, or its error.
    """

    status: str = "pending"
    attempts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    note: str = ""
    parts: Counter[str] = field(default_factory=Counter)
    total: int | None = None
    waited: bool = False

    def seconds(self, now: float) -> float | None:
        """How long it took, or has been running by now; None if it has not begun."""
        return None if self.started_at is None else (self.ended_at or now) - self.started_at


def shown_path(path: str) -> str:
    """The step that stands for a path on the screen: one line for all items and rounds, and all that is in them."""
    return path.partition("[")[0]


class Followed:
    """The steps of one task, by the path that is shown; a reader only. Use it from one thread at a time."""

    def __init__(self, store: TaskStore, task_id: str) -> None:
        self.steps: dict[str, Seen] = {}
        self.waiting: dict[str, StepRecord] = {}
        """The records of the steps that wait now, by their own paths."""
        self._store, self.task_id = store, task_id
        self._parts: dict[str, str] = {}
        self._last = 0

    def skip(self) -> None:
        """Take the records as they are now, for what happened so far."""
        while self._next():
            pass
        over = self._store.get(self.task_id).ended
        for record in self._store.steps(self.task_id).items:
            self._take_record(_left(record) if over else record)
        self._count_children()

    def update(self, tell: Callable[[Event], object] = lambda _: None) -> None:
        """Take what has happened since, log lines before the end of their step; `tell` each event once it is taken."""
        events: list[Event] = []
        while new := self._next():
            events += new
        for event in sorted(events, key=lambda event: (event.at, event.kind != "log")):
            self._take(event)
            tell(event)
        self._count_children()

    def now(self) -> float:
        """The store's time."""
        return self._store.now()

    def progress(self) -> Mapping[str, Any] | None:
        """What the actions of the task reported last."""
        return self._store.get(self.task_id).progress

    def _next(self) -> Sequence[Event]:
        events = self._store.events(self.task_id, self._last, BATCH)
        if events:
            self._last = events[-1].id
        return events

    def _take(self, event: Event) -> None:
        if event.path is None:
            return
        path = shown_path(event.path)
        seen = self.steps.setdefault(path, Seen())
        if event.kind == "log":
            seen.note = str(event.data.get("message", ""))
        elif status := _STATUS.get(event.kind):
            self._take_wait(event.path, status)
            if event.path == path:
                self._take_step(seen, status, event)
            elif event.path.startswith(f"{path}[") and event.path.endswith("]") and "/" not in event.path[len(path) :]:
                self._take_part(path, seen, status, event)

    def _take_wait(self, path: str, status: str) -> None:
        """Events do not tell what is waited for: the record does, unless it has gone on since."""
        self.waiting.pop(path, None)
        if status != "waiting":
            return
        try:
            record = self._store.step(self.task_id, path)
        except NotFound:
            return
        if record.status is StepStatus.WAITING:
            self.waiting[path] = record

    def _count_children(self) -> None:
        """Note what each step waits for; for children also how many of them have ended."""
        counted = 0
        for path, record in self.waiting.items():
            crew, wait = None, record.wait or {}
            if wait.get("kind") == "children" and counted < CREWS:
                counted += 1
                with suppress(NotFound):
                    crew = self._store.crew(self.task_id, path)
            if path in self.steps:
                self.steps[path].note = wait_text(wait, crew)

    def _take_step(self, seen: Seen, status: str, event: Event) -> None:
        if status in ("running", "waiting") and seen.status not in ("running", "retrying", "waiting"):
            seen.started_at, seen.note = event.at, ""
        seen.waited = seen.status == "waiting"
        if seen.waited and status != "waiting":
            seen.note = ""
        seen.status = status
        seen.attempts = event.data.get("attempt") or seen.attempts
        seen.ended_at = event.at if status in ENDED else None
        seen.note = str(event.data.get("message") or seen.note)

    def _take_part(self, path: str, seen: Seen, status: str, event: Event) -> None:
        if seen.total is None:
            self._count_items(path)
        self._count(seen, str(event.path), status)
        if status == "failed":
            seen.note = str(event.data.get("message", ""))

    def _count(self, seen: Seen, path: str, status: str) -> None:
        if before := self._parts.get(path):
            seen.parts[before] -= 1
        self._parts[path] = status
        seen.parts[status] += 1

    def _count_items(self, path: str) -> None:
        """How many items a `foreach` has stands in its record's inputs; asked once."""
        seen = self.steps[path]
        seen.total = next(
            (_items(record) for record in self._store.steps(self.task_id).items if record.path == path), 0
        )

    def _take_record(self, record: StepRecord) -> None:
        path = shown_path(record.path)
        seen = self.steps.setdefault(path, Seen())
        if record.status is StepStatus.WAITING:
            self.waiting[record.path] = record
        if record.path != path:
            if record.path.endswith("]") and "/" not in record.path[len(path) :]:
                self._count(seen, record.path, str(record.status))
            return
        seen.status, seen.attempts = str(record.status), record.attempts
        seen.started_at, seen.ended_at = record.started_at, record.completed_at
        seen.note = record.error.message if record.error else ""
        seen.total = _items(record)


def _left(record: StepRecord) -> StepRecord:
    """The record of a step of an ended task: what had begun then goes on no more."""
    begun = record.status in (StepStatus.RUNNING, StepStatus.WAITING)
    return replace(record, status=StepStatus.CANCELLED) if begun else record


def of_records(store: TaskStore, task_id: str) -> dict[str, Seen]:
    """The steps of a task as its records tell them, by the path that is shown."""
    followed = Followed(store, task_id)
    followed.skip()
    return followed.steps


def _items(record: StepRecord) -> int:
    inputs = decode(record.inputs) if record.inputs else {}
    items = inputs.get("items") if isinstance(inputs, dict) else None
    return items if isinstance(items, int) else 0
