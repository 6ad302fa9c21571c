"""The compiled form of a workflow: expressions compiled, defaults applied, the order of each list known."""

from stepwell.plan.compiling import compile_definition, compile_workflow, count
from stepwell.plan.nodes import (
    LEAF_KINDS,
    Block,
    ForeachPlan,
    Names,
    Node,
    Parameter,
    Plan,
    RetryPlan,
    UntilPlan,
    WaitPlan,
)
from stepwell.plan.reading import order, own_texts, references, step_name, steps_read
from stepwell.plan.undoing import undoes, undoes_inside
from stepwell.plan.walking import bundle_of, downstream, node_at

__all__ = [
    "LEAF_KINDS",
    "Block",
    "ForeachPlan",
    "Names",
    "Node",
    "Parameter",
    "Plan",
    "RetryPlan",
    "UntilPlan",
    "WaitPlan",
    "bundle_of",
    "compile_definition",
    "compile_workflow",
    "count",
    "downstream",
    "node_at",
    "order",
    "own_texts",
    "references",
    "step_name",
    "steps_read",
    "undoes",
    "undoes_inside",
]
