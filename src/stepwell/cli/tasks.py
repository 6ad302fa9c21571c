"""`stepwell tasks`, `task`, `cancel`, `eval`: what the store knows; nothing is run or adopted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepwell.cli.exits import Exit, told
from stepwell.cli.options import AsJson, TaskName
from stepwell.cli.output import as_lines, console, harmless, moment, print_json, reason, say

if TYPE_CHECKING:
    from rich.console import Console

    from stepwell.task import Event, StepRecord, Task
    from stepwell.wiring import System

ITEMS, ERRORS = 100, 10
"""Items that are shown at a time, and errors of which all lines are."""

TASKS_HELP = f"""List tasks, newest first; with --parent the child tasks of one, by their steps.

    stepwell tasks --status failed --workflow orders --limit 20

    stepwell tasks --parent 9f31c2ab --status failed

{told(Exit.OK, Exit.INVALID, Exit.CONFLICT)}"""

TASK_HELP = f"""Show a task, its steps and why it failed.

Failed items of `foreach` and `until` are listed; with --items all of them.

    stepwell task last --logs

    stepwell task 9f31c2ab --items --page 2

{told(Exit.OK, Exit.INVALID, Exit.NOT_FOUND, Exit.CONFLICT)}"""

CANCEL_HELP = f"""Cancel a task.

One that runs is cancelled only with --force, which interrupts its steps.

    stepwell cancel 9f31c2ab --force

{told(Exit.OK, Exit.INVALID, Exit.NOT_FOUND, Exit.CONFLICT)}"""

EVAL_HELP = f"""Try an expression on the record of a task.

It sees what the `outputs` of the workflow see. With --at it sees what that step sees: steps around it, `item` and
`index`, and its own `output` and `error`.

    stepwell eval 9f31c2ab 'steps.total.output.rows > 0'

    stepwell eval 9f31c2ab 'item.name | upper' --at 'each[3]'

{told(Exit.OK, Exit.INVALID, Exit.NOT_FOUND, Exit.CONFLICT)}"""


def tasks(
    status: Annotated[str | None, typer.Option(help="Only tasks in this state.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only tasks of the workflow with this id.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only tasks with this label.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only tasks with this id of yours.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="TASK", help="The child tasks of this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after the list that told this cursor.")] = None,
    as_json: AsJson = False,
) -> None:
    from stepwell.cli.inputs import pairs
    from stepwell.cli.lookup import find_task, opened_system
    from stepwell.ports import TaskFilter

    only = TaskFilter(_status(status), workflow, None, external_id, pairs("--label", label or ()))
    with opened_system() as system:
        if parent is not None:
            only = replace(only, parent=find_task(system.service, parent).task_id)
        page = system.service.tasks(only, limit, cursor)
        now = system.store.now()
        if as_json:
            from stepwell.cli.forms import summary

            items = [summary(task, now) for task in page.items]
            print_json({"items": items, "next_cursor": page.next_cursor})
            return
    from stepwell.cli.tables import of_tasks

    screen = console()
    screen.print(of_tasks(page.items, now, screen.width))
    if page.next_cursor:
        say(f"there are more: --cursor {page.next_cursor}")


def task(
    task_id: TaskName,
    logs: Annotated[bool, typer.Option("--logs", help="Show the log lines of its steps.")] = False,
    items: Annotated[
        bool, typer.Option("--items", help="Show all items and rounds of its steps, not only those that failed.")
    ] = False,
    page: Annotated[int, typer.Option(min=1, help=f"Which {ITEMS} of the items.")] = 1,
    as_json: AsJson = False,
) -> None:
    from stepwell.cli.lookup import find_task, opened_system

    with opened_system() as system:
        found = find_task(system.service, task_id)
        lines = _log_lines(system, found.task_id) if logs else []
        if as_json:
            print_json(_document(system, found, lines if logs else None))
        else:
            _print_task(system, found, lines, _Items(items, page))


def cancel(
    task_id: TaskName,
    force: Annotated[bool, typer.Option("--force", help="Interrupt the steps of a running task.")] = False,
    as_json: AsJson = False,
) -> None:
    from stepwell.cli.lookup import find_task, opened_system

    with opened_system() as system:
        found = system.service.cancel(find_task(system.service, task_id).task_id, force)
        if as_json:
            from stepwell.cli.forms import task_form

            print_json(task_form(system, found))
        elif found.ended:
            console().print(f"task {found.task_id} is {found.status}", soft_wrap=True)
        else:
            told_later = "whoever runs it ends its steps and undoes what is to be undone"
            console().print(f"task {found.task_id} is asked to end: {told_later}", soft_wrap=True)


def evaluate(
    task_id: TaskName,
    expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="Bare, or a text with ${{ … }}.")],
    at: Annotated[str, typer.Option(metavar="STEP", help="The path of a step, like group/step or each[3].")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON already; accepted as everywhere.")] = False,  # noqa: ARG001 - `--json` works with every command
) -> None:
    from stepwell.cli.evaluation import value_of
    from stepwell.cli.lookup import find_task, opened_system

    with opened_system() as system:
        print_json(value_of(system, find_task(system.service, task_id), expression, at))


def _status(name: str | None) -> Any:
    from stepwell.errors import FieldProblem, InvalidInput, did_you_mean
    from stepwell.task import Status

    if name is None:
        return None
    try:
        return Status(name)
    except ValueError:
        known = [str(status) for status in Status]
        message = f"{name!r} is no state of a task{did_you_mean(name, known)}: write one of {', '.join(known)}"
        raise InvalidInput([FieldProblem("--status", message)]) from None


def _log_lines(system: System, task_id: str) -> list[Event]:
    lines: list[Event] = []
    last = 0
    while events := system.service.events(task_id, last):
        lines += [event for event in events if event.kind == "log"]
        last = events[-1].id
    return lines


def _document(system: System, found: Task, logs: list[Event] | None) -> dict[str, Any]:
    from stepwell.cli.forms import log_form, step_form, task_form

    steps = [step_form(system, found, record) for record in system.service.steps(found.task_id).items]
    document = {**task_form(system, found), "steps": steps}
    return document if logs is None else {**document, "logs": [log_form(event) for event in logs]}


def _print_task(system: System, found: Task, logs: list[Event], items: _Items) -> None:
    from stepwell.cli.follow import of_records
    from stepwell.cli.tables import of_steps, of_task
    from stepwell.cli.tree import lines
    from stepwell.plan import compile_definition

    screen, now = console(), system.store.now()
    plan = compile_definition(system.store.definition(found.definition))
    screen.print(of_task(found, now))
    screen.print("")
    screen.print(of_steps(lines(plan, of_records(system.store, found.task_id), now)))
    records = system.service.steps(found.task_id).items
    _print_answers(screen, system, found)
    items.print(screen, records, now)
    for title, value in (("variables", system.service.variables(found)), ("outputs", system.service.outputs(found))):
        if value:
            screen.print(f"\n{title} {as_lines(value)}", soft_wrap=True)
    _print_errors(screen, records)
    for event in logs:
        line = f"{moment(event.at)} {event.path} {event.data.get('level')}: {event.data.get('message')}"
        screen.print(harmless(line), soft_wrap=True)


def _print_answers(screen: Console, system: System, found: Task) -> None:
    """The commands that tell the task what it waits for."""
    from stepwell.cli.waits import command

    commands = [command(found.task_id, record) for record in system.service.waits(found)]
    for number, answer in enumerate(filter(None, commands)):
        screen.print(f"{'' if number else chr(10)}answer with: {answer}", soft_wrap=True)


@dataclass(frozen=True)
class _Items:
    """Which items and rounds are shown: a page of all, or the first that failed."""

    all: bool
    page: int

    def print(self, screen: Console, records: Sequence[StepRecord], now: float) -> None:
        from stepwell.cli.tables import of_items

        found = [record for record in records if record.path.endswith("]") and (self.all or record.status == "failed")]
        first = ITEMS * (self.page - 1)
        shown = found[first : first + ITEMS]
        if shown:
            screen.print("")
            screen.print(of_items(shown, now))
        if len(shown) < len(found):
            what, pages = "items" if self.all else "failed items", -(-len(found) // ITEMS)
            say(f"{len(found):,} {what}, page {self.page} of {pages}: --page shows another")


def _print_errors(screen: Console, records: Sequence[StepRecord]) -> None:
    """What does not fit into a line: tracebacks, and messages of several lines."""
    failed = [record for record in records if record.error and (record.error.traceback or "\n" in record.error.message)]
    for record in failed[:ERRORS]:
        assert record.error is not None
        text = record.error.traceback or record.error.message
        screen.print(f"\n{record.path}: {reason(record.error.message)}\n{harmless(text.rstrip())}", soft_wrap=True)
    if len(failed) > ERRORS:
        say(f"{len(failed) - ERRORS:,} more errors are told whole with --json")
