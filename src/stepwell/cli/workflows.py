"""`stepwell validate`, `list`, `show`, `schema`: what stands in workflow files; no store is opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepwell.cli.exits import Exit, told
from stepwell.cli.options import AsJson
from stepwell.cli.output import console, harmless, print_json, say
from stepwell.errors import DefinitionError, Problem, SettingsError

if TYPE_CHECKING:
    from stepwell.loader import Broken, Catalog, Definition
    from stepwell.plan import Block, Plan

VALIDATE_HELP = f"""Check workflow files.

Every problem is printed as `file:line:column: message`. Without arguments all files of WORKFLOWS_DIR are checked.

    stepwell validate

    stepwell validate orders drafts/new.yaml --json

{told(Exit.OK, Exit.INVALID, Exit.NOT_FOUND)}"""

LIST_HELP = f"""List the workflows of WORKFLOWS_DIR.

{told(Exit.OK, Exit.INVALID)}"""

SHOW_HELP = f"""Show a workflow and the order of its steps.

    stepwell show orders

{told(Exit.OK, Exit.INVALID, Exit.NOT_FOUND)}"""

SCHEMA_HELP = f"""Print the JSON Schema of workflow files, for editors.

    stepwell schema --write schemas/workflow.json

{told(Exit.OK, Exit.INVALID)}"""

WorkflowName = Annotated[str, typer.Argument(metavar="FILE|ID", help="A workflow file, or a workflow's id.")]


def validate(
    workflows: Annotated[list[str] | None, typer.Argument(metavar="[FILE|ID]…", help="Files or ids.")] = None,
    as_json: AsJson = False,
) -> None:
    from stepwell.cli.lookup import catalog

    known = catalog()
    checked = [_checked(known, name) for name in workflows] if workflows else _all(known)
    problems = [problem for one in checked for problem in _problems(one)]
    if as_json:
        print_json({"files": len(checked), "problems": [asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            typer.echo(harmless(str(problem)))
        typer.echo(f"{_counted(len(checked), 'file')}, {_counted(len(problems), 'problem')}")
    raise typer.Exit(Exit.INVALID if problems else Exit.OK)


def list_workflows(as_json: AsJson = False) -> None:
    from stepwell.cli.lookup import catalog

    found = _all(catalog())
    if as_json:
        from stepwell.api import workflow_views

        items = [workflow_views.summary(one).model_dump(mode="json") for one in found]
        print_json({"items": items, "next_cursor": None})
        return
    from stepwell.cli.tables import of_workflows

    console().print(of_workflows(found))


def show(workflow: WorkflowName, as_json: AsJson = False) -> None:
    from stepwell.cli.lookup import catalog, find_definition
    from stepwell.plan import compile_definition

    definition = find_definition(catalog(), workflow)
    if as_json:
        from stepwell.api import workflow_views

        print_json(workflow_views.workflow(definition).model_dump(mode="json"))
    else:
        _print_definition(definition, _drawn(compile_definition(definition.text)))


def schema(
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to this file instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON already; accepted as everywhere.")] = False,  # noqa: ARG001 - `--json` works with every command
) -> None:
    from stepwell.loader import schema as workflow_schema

    if write is None:
        print_json(workflow_schema())
        return
    try:
        write.write_text(json.dumps(workflow_schema(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{write} cannot be written: {error.strerror}") from error


def _all(known: Catalog) -> Sequence[Definition | Broken]:
    from stepwell import settings
    from stepwell.cli.lookup import lack_of_workflows

    if lack := lack_of_workflows(known):
        if not settings.load().workflows_dir.is_dir():
            raise SettingsError(lack)
        say(lack)
    return known.all()


def _checked(known: Catalog, name: str) -> Definition | Broken:
    from stepwell.cli.lookup import find_definition
    from stepwell.loader import Broken

    try:
        return find_definition(known, name)
    except DefinitionError as error:
        return Broken(Path(name).stem, name, error)


def _problems(one: Definition | Broken) -> Iterable[Problem]:
    from stepwell.loader import Broken

    return one.error.problems if isinstance(one, Broken) else ()


def _print_definition(definition: Definition, drawn: str) -> None:
    from stepwell.cli.tables import of_variables

    workflow, screen = definition.workflow, console()
    screen.print(harmless(workflow.name or definition.workflow_id), style="bold")
    screen.print(f"{definition.workflow_id}  {definition.file}", style="dim", soft_wrap=True)
    if workflow.description:
        screen.print(f"\n{harmless(workflow.description.rstrip())}")
    if workflow.variables:
        screen.print("")
        screen.print(of_variables(workflow.variables))
    screen.print(f"\n{drawn}", soft_wrap=True)


def _drawn(plan: Plan) -> str:
    """The order of the steps, and under it that of each list inside them."""
    blocks = (("steps", plan.steps), ("on_failure", plan.on_failure), ("on_cancel", plan.on_cancel))
    drawings: list[str] = []
    for title, block in (*blocks, ("finally", plan.finally_)):
        if block is not None:
            _draw(title, block, drawings)
    return "\n\n".join(drawings)


def _draw(title: str, block: Block, drawings: list[str]) -> None:
    from stepwell.graph import render

    drawings.append(f"{title}\n{render(block.graph, [node.name for node in block.nodes])}")
    for node in block.nodes:
        inner = f"{title}/{node.name}" if title != "steps" else node.name
        cases = [(f"{inner} case {number}", case) for number, (_, case) in enumerate(node.cases, start=1)]
        for name, block_inside in ((inner, node.block), *cases, (f"{inner}/on_failure", node.on_failure)):
            if block_inside is not None:
                _draw(name, block_inside, drawings)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
