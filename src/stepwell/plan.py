"""The compiled form of a workflow: expressions compiled, defaults applied, the order of each list known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

from stepwell import graph
from stepwell.expressions import Expression, Reference, Template, compile_expression, compile_template
from stepwell.values import seconds
from stepwell.workflow import Foreach, Partial, Retry, Step, Variable, Workflow

T = TypeVar("T")
Names = Mapping[str, object]
Place = tuple[str | int, ...]

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
    """A workflow, compiled; `included` are the workflows that its steps may run, by id."""

    workflow: Workflow
    timeout: Template | None
    steps: Block
    on_failure: Block | None
    on_cancel: Block | None
    finally_: Block | None
    outputs: Template
    included: Mapping[str, Plan] = field(default_factory=dict)


def compile_workflow(workflow: Workflow) -> Plan:
    """Compile every expression and order every list; a workflow from the loader always compiles."""
    return Plan(
        workflow=workflow,
        timeout=compile_template(workflow.timeout) if workflow.timeout is not None else None,
        steps=_block(workflow, workflow.steps),
        on_failure=_maybe_block(workflow, workflow.on_failure),
        on_cancel=_maybe_block(workflow, workflow.on_cancel),
        finally_=_maybe_block(workflow, workflow.finally_),
        outputs=compile_template(workflow.outputs),
    )


@lru_cache(maxsize=128)
def compile_definition(text: str) -> Plan:
    """The plan of a definition snapshot (JSON); the last ones used are kept."""
    return compile_workflow(Workflow.model_validate_json(text))


def downstream(plan: Plan, path: str) -> list[str]:
    """The path of a step, and those of all steps that come after it, in its list and in those around it."""
    found = [path]
    block: Block | None = plan.steps
    outer = ""
    for part in path.split("/"):
        node = next((node for node in block.nodes if node.name == part.partition("[")[0]), None) if block else None
        if block is None or node is None:
            return found
        found += [f"{outer}{block.nodes[later].name}" for later in sorted(_later(block.graph, node.index))]
        block, outer = _block_with(node, path, f"{outer}{part}/"), f"{outer}{part}/"
    return found


def _later(ordered: graph.Graph, index: int) -> set[int]:
    later: set[int] = set()
    todo = [index]
    while todo:
        new = [step for step in ordered.after[todo.pop()] if step not in later]
        later.update(new)
        todo.extend(new)
    return later


def _block_with(node: Node, path: str, outer: str) -> Block | None:
    """The list of steps inside a node that has the next step of a path."""
    name = path.removeprefix(outer).partition("/")[0].partition("[")[0]
    blocks = [node.block, *(block for _, block in node.cases)]
    return next((block for block in blocks if block and any(inner.name == name for inner in block.nodes)), None)


def step_name(step: Step, index: int) -> str:
    """A step's part of a path: its id, or its kind and place, counted from 1."""
    return step.id or f"{step.kind}-{index + 1}"


def own_texts(step: Step) -> Iterator[tuple[Place, object, bool]]:
    """Every key of a step that may hold expressions: its place, its value, and whether it is a bare expression.

    Inner steps are not visited.
    """
    yield from ((("if",), step.if_, True), (("until",), step.until, True))
    for key, value in (("with", step.with_), ("env", step.env), ("output", step.output), ("cwd", step.cwd)):
        yield (key,), value, False
    if isinstance(step.run, list):
        yield ("run",), step.run, False
    for key in ("timeout", "every", "max_times"):
        yield (key,), getattr(step, key), False
    if step.foreach:
        yield from _foreach_texts(step.foreach)
    if step.retry:
        yield ("retry", "if"), step.retry.if_, True
        for key in ("max_retries", "delay", "max_delay"):
            yield ("retry", key), getattr(step.retry, key), False
    for number, case in enumerate(step.switch or ()):
        yield ("switch", number, "if"), case.if_, True


def references(step: Step) -> Iterator[tuple[Place, Reference]]:
    """Every path that the step's own expressions read, with the place of the key it stands in."""
    for place, value, bare in own_texts(step):
        if bare and isinstance(value, str):
            yield from ((place, reference) for reference in compile_expression(value).references)
        elif not bare and value is not None:
            yield from ((place, reference) for reference in compile_template(value).references)


def steps_read(step: Step) -> set[str]:
    """The ids of steps that a step reads, in its own keys or in steps inside it."""
    found = {
        reference.path[1] for _, reference in references(step) if reference.path[0] == "steps" and reference.path[1:]
    }
    found.update(step.needs_files or ())
    for _, block in step.blocks:
        for inner in block:
            found |= steps_read(inner)
    return found


def order(steps: Sequence[Step], parallel: bool = False) -> graph.Graph:
    """The order of a list of steps, from `needs`, their places and what they read."""
    return graph.build(
        [step.id for step in steps],
        [(step.needs.any, step.needs.of) if isinstance(step.needs, Partial) else step.needs for step in steps],
        [steps_read(step) for step in steps],
        parallel=parallel,
    )


def _foreach_texts(foreach: Foreach) -> Iterator[tuple[Place, object, bool]]:
    yield ("foreach", "in"), foreach.in_, isinstance(foreach.in_, str)
    for key in ("max_parallel", "max_failed", "stop_after"):
        yield ("foreach", key), getattr(foreach, key), False


def _block(workflow: Workflow, steps: Sequence[Step], parallel: bool = False) -> Block:
    ordered = order(steps, parallel)
    nodes = tuple(_node(workflow, step, index, ordered.height[index]) for index, step in enumerate(steps))
    ids = {step.id: index for index, step in enumerate(steps) if step.id}
    return Block(nodes, ordered, ids)


def _maybe_block(workflow: Workflow, steps: Sequence[Step] | None, parallel: bool = False) -> Block | None:
    return _block(workflow, steps, parallel) if steps is not None else None


def _node(workflow: Workflow, step: Step, index: int, height: int) -> Node:
    leaf = step.kind in LEAF_KINDS
    return Node(
        step=step,
        kind=step.kind,
        name=step_name(step, index),
        index=index,
        height=height,
        secrets=frozenset(workflow.secrets) | frozenset(step.secrets or ()),
        condition=_condition(step.if_),
        inputs=compile_template(_inputs(workflow, step)),
        output=compile_template(step.output) if "output" in step.model_fields_set else None,
        timeout=_parameter(step.timeout or (workflow.defaults.timeout if leaf else None), seconds),
        retry=_retry(step.retry or (workflow.defaults.retry if leaf else None)),
        foreach=_foreach(step.foreach) if step.foreach else None,
        until=_until(step),
        block=_maybe_block(workflow, step.steps or step.parallel, parallel=step.parallel is not None),
        cases=tuple((_condition(case.if_), _block(workflow, case.steps)) for case in step.switch or ()),
        on_failure=_maybe_block(workflow, step.on_failure),
    )


def _inputs(workflow: Workflow, step: Step) -> dict[str, Any]:
    if step.kind != "run":
        return step.with_ or {}
    env = {**workflow.env, **(step.env or {})}
    return {"command": step.run, "env": env, "shell": step.shell, "cwd": step.cwd}


def _condition(text: str | bool | None) -> Expression | None:
    return None if text is None else compile_expression(text if isinstance(text, str) else str(text).lower())


def _retry(retry: Retry | None) -> RetryPlan | None:
    if retry is None:
        return None
    return RetryPlan(
        max_retries=Parameter(compile_template(retry.max_retries), count),
        delay=Parameter(compile_template(retry.delay), seconds),
        max_delay=Parameter(compile_template(retry.max_delay), seconds),
        backoff=retry.backoff,
        jitter=retry.jitter,
        condition=_condition(retry.if_),
    )


def _foreach(foreach: Foreach) -> ForeachPlan:
    literal = not isinstance(foreach.in_, str)
    return ForeachPlan(
        items=compile_template(foreach.in_) if literal else compile_expression(str(foreach.in_)),
        name=foreach.as_,
        max_parallel=Parameter(compile_template(foreach.max_parallel), count),
        tolerant=foreach.on_item_error == "continue",
        max_failed=_parameter(foreach.max_failed, _count_or_share),
        stop_after=_parameter(foreach.stop_after, count),
    )


def _until(step: Step) -> UntilPlan | None:
    condition = _condition(step.until)
    if condition is None:
        return None
    return UntilPlan(condition, _parameter(step.every, seconds), Parameter(compile_template(step.max_times), count))


def _parameter(value: object, convert: Callable[[Any], T]) -> Parameter[T] | None:
    return None if value is None else Parameter(compile_template(value), convert)


def count(value: object) -> int:
    """A whole number of 0 or more. Raises `ValueError`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{value!r} is not a whole number of 0 or more")


def _count_or_share(value: object) -> int | str:
    if isinstance(value, str) and value.endswith("%"):
        float(value[:-1])
        return value
    return count(value)
