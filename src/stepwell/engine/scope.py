"""What expressions see: the names in force at one place of a running task."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from stepwell.plan import Block
from stepwell.task import StepRecord, StepStatus

FAILED, STOPPED, CANCELLED, DRAINED = "failed", "stopped", "cancelled", "drained"
"""Why a scope was halted."""

Look = Callable[[str], StepRecord | None]
Read = Callable[[StepRecord], object]


class Scope:
    """One list of steps in force: where its records lie, how long it may take, and what its expressions see.

    `path` and `position` are the beginnings of those of its steps; `deadline` is on the run's clock. Inner
    scopes see what outer ones see. Once `halt` is set no step of it, or of a scope inside it, starts. A detached
    scope (of `on_failure`, `finally`, …) goes on although those around it were halted or are out of time, unless
    the whole run is drained. A scope that is `sealed` by the id of another workflow, whose steps it holds, and those
    inside it see nothing of those around it.
    """

    __slots__ = ("block", "deadline", "detached", "halt_here", "names", "parent", "path", "position", "sealed")

    def __init__(
        self,
        block: Block | None,
        path: str,
        position: str,
        parent: Scope | None = None,
        names: Mapping[str, object] | None = None,
        deadline: float | None = None,
        detached: bool = False,
        sealed: str | None = None,
    ) -> None:
        self.block, self.path, self.position, self.parent = block, path, position, parent
        self.names: Mapping[str, object] = names or {}
        self.detached, self.sealed = detached, sealed
        outer = parent.deadline if parent and not detached else None
        limits = [limit for limit in (outer, deadline) if limit is not None]
        self.deadline: float | None = min(limits, default=None)
        self.halt_here: str | None = None

    @property
    def halt(self) -> str | None:
        """Why no further step starts here (`failed`, `stopped`, `cancelled`, `drained`), or None."""
        scope: Scope | None = self
        while scope is not None:
            if scope.halt_here:
                return scope.halt_here
            if scope.detached:
                reason = scope.root.halt_here
                return reason if reason == DRAINED else None
            scope = scope.parent
        return None

    @property
    def chain(self) -> Iterator[Scope]:
        """This scope and those around it that it sees, inner before outer."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = None if scope.sealed else scope.parent

    @property
    def workflows(self) -> list[str]:
        """The ids of the other workflows that it is inside of, outer before inner."""
        outer = self.parent.workflows if self.parent else []
        return [*outer, self.sealed] if self.sealed else outer

    @property
    def root(self) -> Scope:
        """The outermost scope."""
        return self if self.parent is None else self.parent.root

    def path_of(self, name: str) -> str:
        """The path of a step in this list."""
        return f"{self.path}/{name}" if self.path else name

    def position_of(self, index: int) -> str:
        """The position of a step in this list, sorting as the definition does."""
        return f"{self.position}.{index:06d}"

    def find(self, step_id: str) -> str | None:
        """The path of the nearest step with this id, here or further out."""
        for scope in self.chain:
            if scope.block is not None and step_id in scope.block.ids:
                return scope.path_of(step_id)
        return None

    @property
    def given(self) -> dict[str, object]:
        """The names that this scope and those around it give: of loops, of what failed, of another workflow."""
        names: dict[str, object] = {}
        for scope in self.chain:
            names = {**scope.names, **names}
        return names

    def visible(self, look: Look, read: Read) -> dict[str, object]:
        """The names of this scope and of those around it."""
        return {**self.given, "steps": StepsView(self, look, read)}


class StepsView(Mapping[str, object]):
    """`steps` in expressions: the steps of this scope and of those around it, by id."""

    __slots__ = ("_look", "_read", "_scope")

    def __init__(self, scope: Scope, look: Look, read: Read) -> None:
        self._scope, self._look, self._read = scope, look, read

    def __getitem__(self, step_id: str) -> object:
        path = self._scope.find(step_id)
        if path is None:
            raise KeyError(step_id)
        return StepView(self._look(path), self._read)

    def __iter__(self) -> Iterator[str]:
        seen = {step_id: None for scope in self._scope.chain if scope.block for step_id in scope.block.ids}
        return iter(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class StepView(Mapping[str, object]):
    """`steps.x` in expressions; the output is read only when it is asked for."""

    __slots__ = ("_read", "_record")

    KEYS = ("output", "status", "error", "attempts", "failures", "files", "winner")

    def __init__(self, record: StepRecord | None, read: Read) -> None:
        self._record, self._read = record, read

    def __getitem__(self, key: str) -> object:
        if key not in self.KEYS:
            raise KeyError(key)
        record = self._record
        if record is None:
            return {"status": str(StepStatus.PENDING), "attempts": 0, "failures": [], "files": {}}.get(key)
        if key == "output":
            return self._read(record)
        if key == "error":
            return record.error.as_json() if record.error else None
        value: Any = getattr(record, key)
        return str(value) if key == "status" else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.KEYS)

    def __len__(self) -> int:
        return len(self.KEYS)


class Derived:
    """`now()`, `uuid()` and `random()` of one evaluation: the same each time the same place is evaluated.

    The n-th call gives what the n-th call gave before the task was resumed, because values come from a hash of
    the seed (task, attempt, path, purpose) and n; `now` is a recorded time.
    """

    __slots__ = ("_calls", "_now", "_seed")

    def __init__(self, seed: str, now: float) -> None:
        self._seed, self._now, self._calls = seed, now, 0

    def names(self) -> dict[str, object]:
        """The three functions by name."""
        return {"now": self.now, "uuid": self.uuid, "random": self.random}

    def now(self) -> datetime:
        """The time of the step's first announcement, in UTC."""
        return datetime.fromtimestamp(self._now, UTC)

    def uuid(self) -> str:
        """A UUID (version 8: made from a hash)."""
        digest = bytearray(self._digest()[:16])
        digest[6] = digest[6] & 0x0F | 0x80
        digest[8] = digest[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(digest)))

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        return int.from_bytes(self._digest()[:7]) / 2**56

    def _digest(self) -> bytes:
        self._calls += 1
        return hashlib.sha256(f"{self._seed}/{self._calls}".encode()).digest()
