"""Whether a definition, or a step of it, leaves something that is to be seen to when its task is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from stepwell.plan.compiling import compile_definition
from stepwell.plan.nodes import Block, Node, Plan


@lru_cache(maxsize=1000)
def undoes(definition: str) -> bool:
    """Whether a task of this definition snapshot has something to do when it is cancelled: steps of its own for that,
    `compensate` of a step, or child tasks to cancel; in a workflow that it includes, too."""
    plan = compile_definition(definition)
    return any(map(_undoes, (plan, *plan.included.values())))


def undoes_inside(node: Node) -> bool:
    """Whether what is inside a step has something to do when the task that runs it is cancelled."""
    return node.kind == "workflow" or any(map(_leaves_something, _blocks(node)))


def _undoes(plan: Plan) -> bool:
    if plan.on_cancel is not None or plan.finally_ is not None:
        return True
    return any(map(_leaves_something, filter(None, (plan.steps, plan.on_failure))))


def _leaves_something(block: Block) -> bool:
    return any(
        node.queue is not None or node.compensate is not None or any(map(_leaves_something, _blocks(node)))
        for node in block.nodes
    )


def _blocks(node: Node) -> Iterator[Block]:
    return filter(None, (node.block, *(block for _, block in node.cases), node.on_failure))
