"""Parts: child tasks that run one step of their parent's definition, with the names that it has there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stepwell.engine.names import Names
from stepwell.engine.outcomes import Halted, StepFailed, failing_step
from stepwell.engine.scope import FAILED, Scope
from stepwell.engine.workflows import finals, included
from stepwell.errors import NotFound, SettingsError, Stop
from stepwell.plan import Block, Node, Plan
from stepwell.task import Apart, Error, StepRecord, StepStatus, Task
from stepwell.values import decode, encode

if TYPE_CHECKING:
    from stepwell.engine.run import Run
    from stepwell.engine.steps import Steps

ENCRYPTED = "encrypted"
"""The key of what a part is told if there is a secret in it; no name of a loop."""

_SEGMENT = re.compile(r"(?P<name>[^\[]*)(?:\[(?P<index>\d+)\])?")


def names_of(run: Run) -> Names:
    """What expressions of a task can read; of a part this is what they could read in its parent."""
    claim = run.claim
    if not claim.task.part:
        return run.means.names(claim, run.records.by_path, run.now, run.fetch)
    whole = Whole(run)
    return run.means.names(replace(claim, task=whole.shown), whole, run.now, whole.fetch)


def told(run: Run, node: Node, scope: Scope, record: StepRecord) -> str:
    """The JSON text that a part is given as its variables: the names that only the scopes around it give."""
    with failing_step(node, record.path, "queue"):
        text = encode(scope.given, "what the loops around it give")
    if run.names.masker.mask_json(text) == text:
        return text
    try:
        return encode({ENCRYPTED: run.means.cipher.encrypt(text)})
    except SettingsError as error:
        message = f"queue: what is given to its child task holds a secret, which must be encrypted: {error}"
        raise StepFailed(Error("invalid", message, record.id, record.path, retryable=False)) from error


async def run_part(run: Run, steps: Steps) -> str:
    """The JSON text of the step's output. Raises `StepFailed`, `Halted`, or the `Stop` of an action."""
    place = place_of(run)
    record = run.records.at(place.node, place.path, place.position)
    if not record.ended:
        try:
            await steps.once(place.node, place.scope, record)
        except StepFailed as failure:
            run.fail(record.path, failure.error, tolerated=False)
        except Halted as halted:
            run.mark_halted(record.path, halted)
            raise
        except Stop as stop:
            run.mark_stopped(record.path, stop)
            raise
    record = run.records[record.path]
    run.raise_stop(record)
    if record.status is StepStatus.CANCELLED:
        raise Halted(place.scope.halt or FAILED)
    if record.error is not None:
        raise StepFailed(record.error)
    return run.names.text(record)


class Whole(Mapping[str, StepRecord]):
    """The records of a part and of the tasks that it is part of, by path; those of others are read when asked for."""

    def __init__(self, run: Run) -> None:
        self._run, self._store = run, run.means.store
        self._own, self._inside = run.records.by_path, _path_of(run.claim.task)
        self._owners: dict[str, str] = {}
        self._known: dict[str, StepRecord] = {}
        self._tasks = self._around(run.claim.task)

    @property
    def shown(self) -> Task:
        """The part, with what expressions read of the task that it is part of."""
        whole = self._tasks[-1]
        return replace(self._run.claim.task, variables=whole.variables, labels=whole.labels, trigger=whole.trigger)

    def fetch(self, key: str) -> str:
        """A value that is stored apart, wherever that is."""
        path = key.removeprefix("output:")
        if path in self._own:
            return self._run.fetch(key)
        owner = self._tasks[-1].task_id if key == "variables" else self._owners[path]
        return self._run.stored(lambda: self._store.value(owner, key))

    def __getitem__(self, path: str) -> StepRecord:
        if path in self._own:
            return self._own[path]
        if path not in self._known and not path.startswith((f"{self._inside}/", f"{self._inside}[")):
            self._look(path)
        return self._known[path]

    def __iter__(self) -> Iterator[str]:
        for task in self._tasks:
            for record in self._run.stored(partial(self._store.steps, task.task_id)).items:
                self._keep(task.task_id, record)
        return iter({**self._known, **self._own})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _around(self, task: Task) -> list[Task]:
        """Its parent and, as long as these are parts too, theirs."""
        found: list[Task] = []
        for ancestor in reversed(task.ancestors):
            found.append(self._run.stored(partial(self._store.get, ancestor)))
            if not found[-1].part:
                break
        return found

    def _look(self, path: str) -> None:
        for task in self._tasks:
            try:
                self._keep(task.task_id, self._run.stored(partial(self._store.step, task.task_id, path)))
            except NotFound:
                continue
            return

    def _keep(self, task_id: str, record: StepRecord) -> None:
        if record.path not in self._known:
            self._known[record.path], self._owners[record.path] = record, task_id


@dataclass(frozen=True)
class Place:
    """Where a part belongs: its step without what its parent sees to, the scope around it, and its record's place."""

    node: Node
    scope: Scope
    path: str
    position: str


def place_of(run: Run) -> Place:
    """Where the step of a part stands in the definition, the scopes around it made again."""
    path = _path_of(run.claim.task)
    todo, scopes = path.split("/"), list(_of_workflow(run.plan, run.root))
    while True:
        found = _entered(scopes, todo)
        if found is None:
            raise StepFailed(Error("invalid", f"the definition has no step at {path}", path=path, retryable=False))
        mark, scope, node = found
        segment, todo = todo[bool(mark)], todo[1 + bool(mark) :]
        here = f"{scope.position_of(node.index)}{_part_position(segment)}"
        if not todo:
            around = Scope(None, scope.path, scope.position, scope, _given(run))
            return Place(alone(node), around, scope.path_of(segment), here)
        scopes = list(_inside(run, node, scope, scope.path_of(segment), here))


def alone(node: Node) -> Node:
    """The step as a part runs it: once, without what its parent sees to."""
    return replace(
        node,
        condition=None,
        foreach=None,
        until=None,
        queue=None,
        priority=None,
        on_failure=None,
        compensate=None,
    )


def _entered(scopes: Sequence[tuple[str, Scope]], todo: Sequence[str]) -> tuple[str, Scope, Node] | None:
    """The scope in which a path goes on, the part of the path that leads to it, and the step of it."""
    for mark, scope in scopes:
        rest = todo if not mark else todo[1:] if todo[0] == mark else ()
        nodes = scope.block.nodes if rest and scope.block else ()
        for node in nodes:
            if node.name == rest[0].partition("[")[0]:
                return mark, scope, node
    return None


def _of_workflow(plan: Plan, scope: Scope) -> Iterator[tuple[str, Scope]]:
    yield "", scope
    for _, _, final in finals(plan, scope):
        yield final.path.rpartition("/")[2], final


def _inside(run: Run, node: Node, scope: Scope, path: str, position: str) -> Iterator[tuple[str, Scope]]:
    """The lists of steps inside a step, each with the part of a path that leads to it: mostly none."""
    if node.kind == "workflow":
        plan = included(run, node)
        yield from _of_workflow(plan, Scope(plan.steps, path, position, scope, sealed=node.step.workflow))
    elif (block := node.block or _case(run, node, path)) is not None:
        yield "", Scope(block, path, position, scope)
    for mark, inner, end in (("on_failure", node.on_failure, "f"), ("compensate", node.compensate, "c")):
        if inner is not None:
            yield mark, Scope(inner, f"{path}/{mark}", f"{position}.{end}", scope, detached=True)


def _case(run: Run, node: Node, path: str) -> Block | None:
    """The case of a `switch` that its parent runs."""
    record = run.names.records.get(path) if node.cases else None
    chosen = decode(record.inputs)["case"] if record is not None and record.inputs else None
    return None if chosen is None else node.cases[chosen][1]


def _given(run: Run) -> dict[str, Any]:
    stored = run.claim.task.variables
    given: dict[str, Any] = decode(run.fetch("variables") if isinstance(stored, Apart) else stored)
    return dict(decode(run.means.cipher.decrypt(given[ENCRYPTED]))) if set(given) == {ENCRYPTED} else given


def _path_of(task: Task) -> str:
    return str(task.place) if task.index is None else f"{task.place}[{task.index}]"


def _part_position(segment: str) -> str:
    found = _SEGMENT.fullmatch(segment)
    return f".{int(found['index']):06d}" if found and found["index"] else ""
