"""Ways through a plan: to the step that a path names, and to the steps that come after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stepwell import graph
from stepwell.plan.nodes import Block, Node, Plan
from stepwell.workflow import reachable, snapshot


class _List(NamedTuple):
    """A list of steps of a workflow, and the part of the path that leads to it: mostly none."""

    part: str
    plan: Plan
    block: Block


class _Stop(NamedTuple):
    """A step on the way to a path; `outer` begins the paths of its list."""

    outer: str
    plan: Plan
    block: Block
    node: Node


def node_at(plan: Plan, path: str) -> tuple[Plan, Node] | None:
    """The step that a path names, with the workflow it belongs to: the plan's own, or one that it includes.

    Items and rounds (`each[3]`) are those of their step. None if there is no such step.
    """
    *_, found = (None, *_way(plan, path))
    wanted = path.removesuffix("]").rpartition("[")[0] if path.endswith("]") else path
    return (found.plan, found.node) if found is not None and f"{found.outer}{found.node.name}" == wanted else None


def downstream(plan: Plan, path: str) -> list[str]:
    """The path of a step, and those of all steps that come after it, in its list and in those around it."""
    found = [path]
    for outer, _, block, node in _way(plan, path):
        found += [f"{outer}{block.nodes[later].name}" for later in sorted(_later(block.graph, node.index))]
    return found


def bundle_of(workflow_id: str, plan: Plan) -> tuple[str, str]:
    """The definition snapshot of a workflow that the plan includes, for a task of its own, and the hash of that."""
    workflow = plan.included[workflow_id].workflow
    return snapshot(workflow, reachable(workflow, lambda inner: plan.included[inner].workflow))


def _way(plan: Plan, path: str) -> Iterator[_Stop]:
    """The steps on the way to a path, outer before inner, as far as there are any."""
    outer, parts = "", path.split("/")
    lists = list(_of_workflow(plan))
    while parts and (found := _entered(lists, parts)):
        entered, node = found
        if entered.part:
            outer += f"{parts.pop(0)}/"
        yield _Stop(outer, entered.plan, entered.block, node)
        outer += f"{parts.pop(0)}/"
        lists = list(_of_step(entered.plan, node))


def _entered(lists: list[_List], parts: list[str]) -> tuple[_List, Node] | None:
    """The list in which the path goes on, and the step of it."""
    for one in lists:
        rest = parts if not one.part else parts[1:] if parts[0] == one.part else []
        name = rest[0].partition("[")[0] if rest else None
        node = next((node for node in one.block.nodes if node.name == name), None)
        if node is not None:
            return one, node
    return None


def _of_workflow(plan: Plan, mark: str = "") -> Iterator[_List]:
    """The lists of a workflow; those that end one inside a task are marked, for the step has an `on_failure` too."""
    yield _List("", plan, plan.steps)
    for part, block in (("on_failure", plan.on_failure), ("on_cancel", plan.on_cancel), ("finally", plan.finally_)):
        if block is not None:
            yield _List(f"{mark}{part}", plan, block)


def _of_step(plan: Plan, node: Node) -> Iterator[_List]:
    for block in (node.block, *(block for _, block in node.cases)):
        if block is not None:
            yield _List("", plan, block)
    for part, block in (("on_failure", node.on_failure), ("compensate", node.compensate)):
        if block is not None:
            yield _List(part, plan, block)
    if node.step.workflow is not None and node.step.workflow in plan.included:
        yield from _of_workflow(plan.included[node.step.workflow], "workflow.")


def _later(ordered: graph.Graph, index: int) -> set[int]:
    later: set[int] = set()
    todo = [index]
    while todo:
        new = [step for step in ordered.after[todo.pop()] if step not in later]
        later.update(new)
        todo.extend(new)
    return later
