"""Workflows of the catalog as answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepwell import variables
from stepwell.api import answers
from stepwell.errors import DefinitionError
from stepwell.loader import Broken, Definition
from stepwell.plan import Block, Node, Plan, compile_definition
from stepwell.values import decode


def summary(found: Definition | Broken) -> answers.WorkflowSummary:
    """A workflow as the catalog's list shows it."""
    return answers.WorkflowSummary(**_workflow(found))


def workflow(found: Definition | Broken, *others: Definition | Broken) -> answers.Workflow:
    """A workflow with all that is known of it; `others` have the same id, so that all of them are broken."""
    if isinstance(found, Broken):
        unknown: dict[str, Any] = dict.fromkeys(("definition", "source", "hash", "graph", "variables_schema"))
        problems = [problem for one in (found, *others) for problem in summary(one).problems]
        return answers.Workflow(**{**_workflow(found), "problems": problems}, **unknown)
    return answers.Workflow(
        **_workflow(found),
        definition=decode(found.text),
        source=found.source,
        hash=found.hash,
        graph=graph(compile_definition(found.text)),
        variables_schema=variables.json_schema(found.workflow.variables),
    )


def graph(plan: Plan) -> answers.Graph:
    """The steps of a workflow and their order."""
    blocks = [("", "steps", plan.steps)]
    blocks += [
        (name, name, block)
        for name, block in (
            ("on_failure", plan.on_failure),
            ("on_cancel", plan.on_cancel),
            ("finally", plan.finally_),
        )
        if block is not None
    ]
    drawn = answers.Graph(nodes=[], edges=[])
    for outer, name, block in blocks:
        _draw(drawn, block, outer, None, name)
    return drawn


def _draw(drawn: answers.Graph, block: Block, outer: str, parent: str | None, name: str) -> None:
    """Add a list of steps and what is inside them; `outer` begins the paths."""
    paths = [f"{outer}/{node.name}" if outer else node.name for node in block.nodes]
    for node, path in zip(block.nodes, paths, strict=True):
        drawn.nodes.append(
            answers.GraphNode(
                path=path, id=node.step.id, name=node.step.name, kind=node.kind, parent=parent, block=name
            )
        )
        before = block.graph.before[node.index]
        drawn.edges += [answers.GraphEdge(source=paths[earlier], target=path) for earlier in before]
        for inner_name, inner_outer, inner in _inside(node, path):
            _draw(drawn, inner, inner_outer, path, inner_name)


def _inside(node: Node, path: str) -> Iterator[tuple[str, str, Block]]:
    if node.block is not None:
        yield node.kind, path, node.block
    for number, (_, block) in enumerate(node.cases, start=1):
        yield f"case {number}", path, block
    for name, aside in (("on_failure", node.on_failure), ("compensate", node.compensate)):
        if aside is not None:
            yield name, f"{path}/{name}", aside


def _workflow(found: Definition | Broken) -> dict[str, Any]:
    if isinstance(found, Broken):
        nothing: dict[str, Any] = {"name": None, "description": "", "queue": None, "priority": None, "labels": {}}
        problems = definition_problems(found.error)
        return {"id": found.workflow_id, "file": found.file, "valid": False, "problems": problems, **nothing}
    spec = found.workflow
    return {
        "id": found.workflow_id,
        "name": spec.name,
        "description": spec.description,
        "file": found.file,
        "valid": True,
        "queue": spec.queue,
        "priority": spec.priority,
        "labels": dict(spec.labels),
        "problems": [],
    }


def definition_problems(error: DefinitionError) -> list[answers.DefinitionProblem]:
    """The problems of a workflow, as answers show them."""
    return [
        answers.DefinitionProblem(
            message=found.message,
            file=found.file,
            line=found.line,
            column=found.column,
            source=found.source,
            corrected=found.corrected,
        )
        for found in error.problems
    ]
