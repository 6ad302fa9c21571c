"""From a workflow to its plan: expressions compiled, defaults applied, the order of each list known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from stepwell.expressions import Expression, compile_expression, compile_template, equalities
from stepwell.plan.nodes import (
    LEAF_KINDS,
    Block,
    ForeachPlan,
    Node,
    Parameter,
    Plan,
    RetryPlan,
    T,
    UntilPlan,
    WaitPlan,
)
from stepwell.plan.reading import order, step_name
from stepwell.values import encode, kind, seconds
from stepwell.workflow import (
    Bundle,
    Foreach,
    Retry,
    Step,
    Wait,
    Workflow,
    event_name,
    moment,
    priority_level,
    queue_name,
)


def compile_workflow(workflow: Workflow) -> Plan:
    """Compile every expression and order every list; a workflow from the loader always compiles.

    With a `Bundle` the workflows that it includes are compiled too.
    """
    included: dict[str, Plan] = {}
    if isinstance(workflow, Bundle):
        included.update((name, _plan(inner, included)) for name, inner in workflow.included.items())
    return _plan(workflow, included)


@lru_cache(maxsize=128)
def compile_definition(text: str) -> Plan:
    """The plan of a definition snapshot (JSON); the last ones used are kept."""
    return compile_workflow(Bundle.model_validate_json(text))


def _plan(workflow: Workflow, included: Mapping[str, Plan]) -> Plan:
    return Plan(
        workflow=workflow,
        timeout=compile_template(workflow.timeout) if workflow.timeout is not None else None,
        steps=_block(workflow, workflow.steps),
        on_failure=_maybe_block(workflow, workflow.on_failure),
        on_cancel=_maybe_block(workflow, workflow.on_cancel),
        finally_=_maybe_block(workflow, workflow.finally_),
        outputs=compile_template(workflow.outputs),
        included=included,
    )


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
        block=_maybe_block(workflow, step.steps or step.parallel or step.race, parallel=step.steps is None),
        cases=tuple((_condition(case.if_), _block(workflow, case.steps)) for case in step.switch or ()),
        on_failure=_maybe_block(workflow, step.on_failure),
        wait=None if step.wait is None else _wait(step.wait),
        queue=_parameter(step.queue, queue_name),
        priority=_parameter(step.priority, priority_level),
        compensate=_maybe_block(workflow, step.compensate),
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


def _wait(wait: Wait | str | float) -> WaitPlan:
    if not isinstance(wait, Wait):
        return WaitPlan("time", duration=_parameter(wait, seconds))
    return WaitPlan(
        kind=wait.kind,
        until=_parameter(wait.until, moment),
        event=_parameter(wait.event, event_name),
        match=_condition(wait.match),
        message=_parameter(wait.approval, _message),
        form=wait.form if wait.kind == "approval" else None,
        approvers=_parameter(wait.approvers, _texts),
        timeout=_parameter(wait.timeout, seconds),
        tolerant=wait.on_timeout == "continue",
        keys=equalities(wait.match, "event") if isinstance(wait.match, str) else (),
    )


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


def _message(value: object) -> str:
    return value if isinstance(value, str) else encode(value)


def _texts(value: object) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise ValueError(f"{kind(value)} is no list of names")
