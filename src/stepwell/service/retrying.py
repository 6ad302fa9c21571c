"""Which tasks may be run again by hand, and which of their steps then begin afresh."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.errors import Conflict, FieldProblem, InvalidInput, NotFound, did_you_mean
from stepwell.lifecycle import to_reset
from stepwell.plan import Plan, downstream, node_at
from stepwell.task import Status, StepRecord, Task


def check_retry(task: Task, from_step: str | None) -> None:
    """Raise `Conflict` for a child, and for a task of which nothing would run again."""
    if task.ancestors:
        root, parent = task.ancestors[0], task.ancestors[-1]
        of = f"task {parent}" if root == parent else f"task {parent}, below task {root}"
        message = f"it is a child of {of}: retry task {root}, which runs again what failed in its children too"
        raise Conflict(message, status=task.status)
    if task.status is Status.COMPLETED and from_step is None:
        message = "the task has completed, so nothing is left to run: say from which step on it is to run again"
        raise Conflict(f"{message} (from_step)", status=task.status)


def steps_to_reset(records: Sequence[StepRecord], from_step: str | None, plan: Plan, workflow_id: str) -> list[str]:
    """The paths of the steps that a retry begins afresh: what failed, or a step, by id or path, with all that comes
    after it in the plan that the task is to run on.

    Raises `NotFound` for an unknown step, `InvalidInput` for one that this plan has not, or has in several places.
    """
    if from_step is None:
        return to_reset(records)
    is_path = node_at(plan, from_step) is not None or any(record.path == from_step for record in records)
    path = from_step if is_path else _path_of(from_step, records)
    if node_at(plan, path) is None:
        known = [node.name for node in plan.steps.nodes]
        message = f"the latest definition of {workflow_id!r} has no step {path!r}{did_you_mean(path, known)}"
        raise InvalidInput([FieldProblem("from_step", f"{message}: name another one, or take the original definition")])
    return to_reset(records, downstream(plan, path))


def _path_of(step_id: str, records: Sequence[StepRecord]) -> str:
    """The path of the step with this id. Raises `NotFound`, and `InvalidInput` if it is ambiguous."""
    paths = [record.path for record in records if record.id == step_id and "[" not in record.path.rpartition("/")[2]]
    if not paths:
        raise NotFound("step", step_id, [record.id or record.path for record in records])
    if len(paths) > 1:
        message = f"{step_id!r} ran in several places, name one: {', '.join(paths[:5])}"
        raise InvalidInput([FieldProblem("from_step", message)])
    return paths[0]
