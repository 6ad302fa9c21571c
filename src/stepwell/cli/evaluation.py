"""`stepwell eval`: the value of an expression on the record of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepwell.engine.names import Names
from stepwell.engine.scope import Scope
from stepwell.errors import ExpressionError, NotFound
from stepwell.expressions import compile_expression, compile_template
from stepwell.plan import Block, Node, Plan, compile_definition
from stepwell.ports import Claim
from stepwell.task import StepRecord, Task
from stepwell.values import decode

if TYPE_CHECKING:
    from stepwell.wiring import System

ASIDE = ("on_failure", "on_cancel", "finally")
"""Blocks of a workflow beside its steps."""


def value_of(system: System, task: Task, text: str, at: str = "") -> Any:
    """The JSON value of an expression, or of a text with `${{ … }}` in it, without secrets.

    `at` is the path of a step whose names it sees. Raises `NotFound`, `ExpressionError`.
    """
    records = {record.path: record for record in system.store.steps(task.task_id).items}
    definition, now = system.store.definition(task.definition), system.store.now()
    claim = Claim(task, "", definition, tuple(records.values()), now)
    names = system.names(claim, records, system.store.now, lambda key: system.store.value(task.task_id, key))
    plan = compile_definition(definition)
    secrets = frozenset(plan.workflow.secrets)
    scope = _Place(names, plan, task, now).find(at) if at else Scope(plan.steps, "", "0")
    known = {**names.at(scope, "eval", now, secrets), **_own(names, records.get(at), task)}
    return decode(names.encode(_compiled(text)(known), "the value"))


def _compiled(text: str) -> Any:
    try:
        return compile_expression(text)
    except ExpressionError:
        if "${{" in text:
            return compile_template(text)
        raise


def _own(names: Names, record: StepRecord | None, task: Task) -> dict[str, object]:
    """What a step's own keys see of itself: `output` and `error`; `error` of the task otherwise."""
    error = task.error if record is None else record.error
    own: dict[str, object] = {"error": error.as_json()} if error else {}
    return own if record is None else {**own, "output": names.read(record)}


class _Place:
    """Goes down a path, from the outermost steps to those around the step it names."""

    def __init__(self, names: Names, plan: Plan, task: Task, now: float) -> None:
        self._names, self._plan, self._task, self._now = names, plan, task, now

    def find(self, path: str) -> Scope:
        """The scope that the step's own keys see."""
        first, _, rest = path.partition("/")
        if first in ASIDE and rest:
            block = getattr(self._plan, "finally_" if first == "finally" else first)
            outer = Scope(self._plan.steps, "", "0", names=self._failure())
            return self._down(Scope(block, first, "0", outer), rest, path)
        return self._down(Scope(self._plan.steps, "", "0"), path, path)

    def _down(self, scope: Scope, rest: str, path: str) -> Scope:
        part, _, further = rest.partition("/")
        name, bracket, index = part.partition("[")
        node = self._node(scope.block, name, path)
        here = scope.path_of(name)
        inner = self._part(scope, node, here, index.rstrip("]"), path) if bracket else scope
        if not further:
            return inner
        here += part.removeprefix(name)
        if further.startswith("on_failure/"):
            block = Scope(node.on_failure, f"{here}/on_failure", "0", inner, self._failure(here))
            return self._down(block, further.partition("/")[2], path)
        return self._down(Scope(self._inside(node, further), here, "0", inner), further, path)

    def _node(self, block: Block | None, name: str, path: str) -> Node:
        known = {node.name: node for node in block.nodes} if block else {}
        if name not in known:
            raise NotFound("step", path, known)
        return known[name]

    def _part(self, scope: Scope, node: Node, here: str, index: str, path: str) -> Scope:
        """An item or a round: what `item` and `index` are in it."""
        number = int(index) if index.isdecimal() else -1
        names: dict[str, object] = {"index": number}
        if node.foreach is not None:
            items = node.foreach.items(self._names.at(scope, "eval", self._now, node.secrets))
            if not isinstance(items, list) or not 0 <= number < len(items):
                raise NotFound("step", path)
            names[node.foreach.name] = items[number]
        elif node.until is None or number < 0:
            raise NotFound("step", path)
        return Scope(None, here, "0", scope, names)

    def _inside(self, node: Node, further: str) -> Block | None:
        """The list inside a step that has the next part of the path."""
        name = further.partition("/")[0].partition("[")[0]
        blocks = [node.block, *(block for _, block in node.cases)]
        return next((block for block in blocks if block and any(inner.name == name for inner in block.nodes)), None)

    def _failure(self, path: str = "") -> Mapping[str, object]:
        record = self._names.records.get(path)
        error = record.error if record else self._task.error
        return {"error": error.as_json()} if error else {}
