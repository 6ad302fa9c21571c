"""Where the definition of a task has steps that wait for a signal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from stepwell.plan import Block, Node, Plan, WaitPlan
from stepwell.task import Task

MAX_STEPS = 10_000
"""So many steps of a definition, with those of the workflows in it, are looked through."""

_NUMBER = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class WaitingStep:
    """A step that waits for a signal.

    `path` is that of its record; of one in a loop, where only running tells the numbers, they are left out: `each[]`.
    """

    path: str
    id: str | None
    wait: WaitPlan

    @property
    def is_one(self) -> bool:
        """Whether it runs once in a task, so that its path is known beforehand."""
        return "[]" not in self.path

    def matches(self, path: str) -> bool:
        """Whether a record of it can have this path."""
        return re.fullmatch(re.escape(self.path).replace(r"\[\]", _NUMBER.pattern), path) is not None


def waiting_steps(plan: Plan, task: Task, path: str | None = None) -> list[WaitingStep]:
    """Those that run in this task itself, not in a child of it; with a `path` only those at that path."""
    found = islice(_Walk(None if path is None else _pattern(path)).plan(plan), MAX_STEPS)
    place = _pattern(task.place or "") if task.part else None
    own = (_own(task, place, found_path, node) for owner, found_path, node in found if owner == place)
    return [step for step in own if path is None or step.matches(path)]


Found = tuple[str | None, str, Node]
"""A step that waits, with its path, and that of the step whose child it runs in."""


class _Walk:
    """Goes through all steps of a plan; `wanted` is the one path that is looked for."""

    def __init__(self, wanted: str | None) -> None:
        self._wanted = wanted

    def plan(self, plan: Plan) -> Iterator[Found]:
        """All of a workflow; what compensates, and what runs at the end, too."""
        return self._workflow(plan, plan, "", None, ())

    def _workflow(
        self, root: Plan, plan: Plan, path: str, owner: str | None, within: tuple[str, ...]
    ) -> Iterator[Found]:
        mark = "workflow." if path else ""  # the step that runs it may have an `on_failure` of its own
        blocks = ((path, plan.steps), *((_below(path, mark + name), block) for name, block in _final(plan)))
        for outer, block in blocks:
            yield from self._block(root, block, outer, owner, within)

    def _block(
        self, root: Plan, block: Block | None, path: str, owner: str | None, within: tuple[str, ...]
    ) -> Iterator[Found]:
        if block is None or not self._may_be_in(path):
            return
        for node in block.nodes:
            yield from self._node(root, node, _below(path, node.name), owner, within)

    def _node(self, root: Plan, node: Node, path: str, outer: str | None, within: tuple[str, ...]) -> Iterator[Found]:
        for name, aside in (("on_failure", node.on_failure), ("compensate", node.compensate)):
            yield from self._block(root, aside, f"{path}/{name}", outer, within)
        owner = outer if node.queue is None else path
        inner = path if node.foreach is None and node.until is None else f"{path}[]"
        if node.wait is not None:
            yield owner, inner, node
        for block in (node.block, *(block for _, block in node.cases)):
            yield from self._block(root, block, inner, owner, within)
        other = node.step.workflow if node.queue is None else None
        if (
            other is not None
            and other in root.included
            and (self._wanted is not None or other not in within)
            and self._may_be_in(inner)
        ):
            yield from self._workflow(root, root.included[other], inner, owner, (*within, other))

    def _may_be_in(self, path: str) -> bool:
        return self._wanted is None or not path or self._wanted.startswith(f"{path}/")


def _pattern(path: str) -> str:
    """`each[]` for `each[3]`."""
    return _NUMBER.sub("[]", path)


def _final(plan: Plan) -> Iterator[tuple[str, Block | None]]:
    return iter((("on_failure", plan.on_failure), ("on_cancel", plan.on_cancel), ("finally", plan.finally_)))


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _own(task: Task, place: str | None, path: str, node: Node) -> WaitingStep:
    """The step as this task has it: a part knows the numbers of the loops around it."""
    assert node.wait is not None
    if place is None:
        return WaitingStep(path, node.step.id, node.wait)
    rest = path.removeprefix(place)
    own = f"{task.place}[{task.index}]{rest[2:]}" if rest.startswith("[]") else f"{task.place}{rest}"
    return WaitingStep(own, node.step.id, node.wait)
