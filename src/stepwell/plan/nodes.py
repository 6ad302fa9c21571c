"""The compiled form of a workflow, as frozen records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stepwell import graph
from stepwell.expressions import Expression, Template
from stepwell.workflow import Step, Variable, Workflow

T = TypeVar("T")
Names = Mapping[str, object]

LEAF_KINDS = frozenset({"uses", "call", "run"})
"""Kinds of step that run user code: attempts, time limits and the workflow's defaults are theirs."""


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """A key of a step that may hold an expression, with the check of its value."""

    template: Template
    convert: Callable[[Any], T]

    def __call__(self, names: Names) -> T:
        """The value; raises `ValueError` if it does not fit, `ExpressionError` if it cannot be told."""
        return self.convert(self.template(names))


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """A step's `retry`, compiled."""

    max_retries: Parameter[int]
    delay: Parameter[float]
    max_delay: Parameter[float]
    backoff: float
    jitter: bool
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class ForeachPlan:
    """A step's `foreach`, compiled."""

    items: Callable[[Names], object]
    name: str
    max_parallel: Parameter[int]
    tolerant: bool
    max_failed: Parameter[int | str] | None
    stop_after: Parameter[int] | None


@dataclass(frozen=True, slots=True)
class UntilPlan:
    """A step's `until`, compiled."""

    condition: Expression
    every: Parameter[float] | None
    max_times: Parameter[int]


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """A step's `wait`, compiled. `kind` is `time`, `event` or `approval`, and what belongs to it is set.

    `duration` is in seconds, `until` a time in seconds since 1970; `form` declares what an approval is answered with.
    `keys` are the fields of the event that `match` requires to equal something that is known without it.
    """

    kind: str
    duration: Parameter[float] | None = None
    until: Parameter[float] | None = None
    event: Parameter[str] | None = None
    match: Expression | None = None
    message: Parameter[str] | None = None
    form: Mapping[str, Variable] | None = None
    approvers: Parameter[Sequence[str]] | None = None
    timeout: Parameter[float] | None = None
    tolerant: bool = False
    keys: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A step, compiled. `name` is its part of a path; `height` how many steps follow on the longest way.

    With a `queue` it runs, or each item of it, as a child task. `block` holds the steps of a group, the racers of a
    `race`; `compensate` those that undo it.
    """

    step: Step
    kind: str
    name: str
    index: int
    height: int
    secrets: frozenset[str]
    condition: Expression | None
    inputs: Template
    output: Template | None
    timeout: Parameter[float] | None
    retry: RetryPlan | None
    foreach: ForeachPlan | None
    until: UntilPlan | None
    block: Block | None
    cases: tuple[tuple[Expression | None, Block], ...]
    on_failure: Block | None
    wait: WaitPlan | None = None
    queue: Parameter[str] | None = None
    priority: Parameter[int] | None = None
    compensate: Block | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A list of steps and the order they run in; `ids` has the place of each that has an id."""

    nodes: tuple[Node, ...]
    graph: graph.Graph
    ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow, compiled; `included` are all workflows that its steps may run, or steps of those, by id.

    They share that mapping, so that a workflow may run itself.
    """

    workflow: Workflow
    timeout: Template | None
    steps: Block
    on_failure: Block | None
    on_cancel: Block | None
    finally_: Block | None
    outputs: Template
    included: Mapping[str, Plan] = field(default_factory=dict, repr=False, compare=False)
