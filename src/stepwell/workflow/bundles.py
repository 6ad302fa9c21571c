"""Definitions as tasks keep them: the JSON text of a workflow and of all others that its steps may run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from stepwell.workflow.models import Bundle, Step, Workflow


def called(workflow: Workflow) -> Iterator[str]:
    """The ids of the workflows that steps of this one run, in the order of the file, each as often as it stands."""
    for _, steps in workflow.blocks:
        yield from _called(steps)


def reachable(workflow: Workflow, find: Callable[[str], Workflow]) -> dict[str, Workflow]:
    """All workflows that steps of this one run, or steps of those, sorted by id; itself too if it comes to that.

    `find` gives the workflow of an id.
    """
    found: dict[str, Workflow] = {}
    todo = [*called(workflow)]
    while todo:
        workflow_id = todo.pop()
        if workflow_id not in found:
            found[workflow_id] = find(workflow_id)
            todo += called(found[workflow_id])
    return dict(sorted(found.items()))


def snapshot(workflow: Workflow, included: Mapping[str, Workflow]) -> tuple[str, str]:
    """The JSON text of a definition, and the sha256 of that."""
    whole = workflow if not included else _bundle(workflow, included)
    text = whole.model_dump_json(by_alias=True, exclude_unset=True)
    return text, hashlib.sha256(text.encode()).hexdigest()


def _bundle(workflow: Workflow, included: Mapping[str, Workflow]) -> Bundle:
    given = {name: getattr(workflow, name) for name in Workflow.model_fields if name in workflow.model_fields_set}
    return Bundle.model_construct(**given, included=dict(included))


def _called(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        if step.workflow is not None:
            yield step.workflow
        for _, inner in step.blocks:
            yield from _called(inner)
