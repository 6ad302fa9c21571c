"""What a step reads: the texts that may hold expressions, the steps these name, and the order that follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stepwell import graph
from stepwell.expressions import Reference, compile_expression, compile_template
from stepwell.workflow import Foreach, Partial, Step, Wait

Place = tuple[str | int, ...]


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
    for key in ("timeout", "every", "max_times", "queue", "priority"):
        yield (key,), getattr(step, key), False
    if step.wait is not None:
        yield from _wait_texts(step.wait)
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


def _wait_texts(wait: Wait | str | float) -> Iterator[tuple[Place, object, bool]]:
    if not isinstance(wait, Wait):
        yield ("wait",), wait, False
        return
    yield ("wait", "match"), wait.match, True
    for key in ("until", "event", "approval", "approvers", "timeout"):
        yield ("wait", key), getattr(wait, key), False
