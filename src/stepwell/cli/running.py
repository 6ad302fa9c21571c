"""`stepwell run` and `stepwell retry`: a task is run in this terminal, or by a worker and shown here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepwell.cli.exits import Exit, told
from stepwell.cli.options import AsJson, TaskName
from stepwell.cli.output import as_lines, console, print_json, reason, say

if TYPE_CHECKING:
    from stepwell.cli.follow import Followed
    from stepwell.plan import Plan
    from stepwell.service import Amendment
    from stepwell.task import Task
    from stepwell.wiring import System

CODES = (Exit.OK, Exit.FAILED, Exit.INVALID, Exit.NOT_FOUND, Exit.CONFLICT, Exit.CANCELLED, Exit.INTERRUPTED)

RUN_HELP = f"""Run a workflow here and now, and show how it goes.

WORKFLOW is a file, or the id of a workflow in WORKFLOWS_DIR. Variables are read by their declared types; `-v
name=@path` takes the content of a file (for a `file` variable the file itself), `-v name=@@text` is the text `@text`.
A `breakpoint()` in a step opens the debugger here, and time limits pause meanwhile. Ctrl-C cancels the task cleanly,
a second one leaves at once. A task that only waits is left waiting by Ctrl-C; what it waits for is shown, with the
command that answers, for another terminal. Child tasks are run here too.

    stepwell run workflows/orders.yaml -v day=2026-11-21 -v 'regions=eu, us'

    stepwell run orders --vars day.yaml --json | jq .result.outputs

{told(*CODES)}"""

RETRY_HELP = f"""Run an ended task again, and show how it goes.

What failed is run again, and what was undone; or with --from-step that step and all that comes after it. A task that
was left behind because its process died goes on after its last completed step. With -v it has other variables, with
--latest the workflow as its file is now; what has completed keeps its output.

It runs here and now; with QUEUE_ENABLED=true a worker runs it, and Ctrl-C only ends the showing.

    stepwell retry 9f31c2ab

    stepwell retry 9f31c2ab --from-step load -v region=eu --latest

{told(*CODES)}"""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only how it ended.")]


def run(
    workflow: Annotated[str, typer.Argument(metavar="FILE|ID", help="A workflow file, or a workflow's id.")],
    variable: Annotated[
        list[str] | None, typer.Option("-v", "--var", metavar="KEY=VALUE", help="A variable; may be repeated.")
    ] = None,
    variables_file: Annotated[
        Path | None, typer.Option("--vars", metavar="FILE", help="Variables from a JSON or YAML file.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal, high or urgent, or a number.")] = None,
    timeout: Annotated[str | None, typer.Option(help="The time limit of the task, like 90s, 5m, 2h.")] = None,
    max_retries: Annotated[int | None, typer.Option(min=0, help="Retries of the whole task.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; may be repeated.")] = None,
    external_id: Annotated[str | None, typer.Option(help="An id of your own to find the task by.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    from stepwell.cli.inputs import pairs, values
    from stepwell.cli.lookup import find_definition, opened_system
    from stepwell.cli.resuming import tell_of_pause
    from stepwell.service import Submission

    with opened_system() as system:
        definition = find_definition(system.service.catalog, workflow)
        given: dict[str, Any] = {
            "variables": values(definition.workflow.variables, variable or (), variables_file, system.files.put),
            "priority": priority,
            "timeout": timeout,
            "max_retries": max_retries,
            "labels": pairs("--label", label or ()),
            "external_id": external_id,
        }
        task = system.service.submit(definition, Submission(**given), here=True)
        tell_of_pause(system, task)
        code = perform(system, task, as_json=as_json, quiet=quiet)
    raise typer.Exit(code)


def retry(
    task_id: TaskName,
    from_step: Annotated[
        str | None, typer.Option("--from-step", "--from", metavar="STEP", help="Begin again at this step.")
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option("-v", "--var", "--set", metavar="KEY=VALUE", help="Change a variable; may be repeated."),
    ] = None,
    variables_file: Annotated[
        Path | None, typer.Option("--vars", metavar="FILE", help="Change variables to those of a JSON or YAML file.")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Take the workflow as its file is now.")] = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Only queue it, for a server or worker to run.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    from stepwell.cli.lookup import find_task, opened_system
    from stepwell.cli.resuming import queued_again, tell_of_changes

    code = Exit.OK
    with opened_system() as system:
        found = find_task(system.service, task_id)
        if not latest:
            tell_of_changes(system, found)
        amendment = _amendment(system, found, variable or (), variables_file, latest)
        task = queued_again(system, found, from_step, amendment)
        if not no_run:
            show = watch if system.is_for_workers(task.task_id) else perform
            code = show(system, task, as_json=as_json, quiet=quiet)
        elif as_json:
            _print_document(system, task)
        else:
            console().print(f"task {task.task_id} is {task.status}", soft_wrap=True)
    raise typer.Exit(code)


def _amendment(system: System, task: Task, given: Sequence[str], file: Path | None, latest: bool) -> Amendment | None:
    """What the options change about a task that runs again, if they do."""
    from stepwell.cli.inputs import values
    from stepwell.service import Amendment

    if not given and file is None and not latest:
        return None
    workflow = system.service.catalog.get(task.workflow_id).workflow if latest else system.service.plan(task).workflow
    return Amendment(values(workflow.variables, given, file, system.files.put), latest)


def perform(system: System, task: Task, *, as_json: bool, quiet: bool) -> Exit:
    """Run a queued task in this thread, show how it goes, and say how it ended."""
    from stepwell.cli.execution import Execution, leave
    from stepwell.cli.follow import Followed
    from stepwell.cli.resuming import tell_of_waiting
    from stepwell.plan import compile_definition

    plan = compile_definition(system.store.definition(task.definition))
    followed = Followed(system.store, task.task_id)
    followed.skip()

    def late(ended: Task) -> None:
        terminal.close()
        code = _told(system, ended, plan, execution.interrupted, as_json)
        sys.stdout.flush()
        leave(code)

    execution = Execution(system, task.task_id, late)
    _keep_log_lines_apart()
    with ExitStack() as terminal:
        if as_json:
            terminal.enter_context(redirect_stdout(sys.stderr))
        terminal.enter_context(_display(followed, plan, task, stderr=as_json, quiet=quiet))
        ended = execution.run()
    if not ended.ended:
        tell_of_waiting(ended)
    return _told(system, ended, plan, execution.interrupted, as_json)


def watch(system: System, task: Task, *, as_json: bool, quiet: bool) -> Exit:
    """Show how workers run a task, and say how it ended; Ctrl-C ends the showing alone."""
    from stepwell.cli.follow import Followed
    from stepwell.cli.resuming import interruptible, tell_of_workers, until_ended
    from stepwell.plan import compile_definition

    plan = compile_definition(system.store.definition(task.definition))
    followed = Followed(system.store, task.task_id)
    followed.skip()
    try:
        with interruptible():
            tell_of_workers(system, task)
            with _display(followed, plan, task, stderr=as_json, quiet=quiet):
                ended = until_ended(system, task.task_id)
    except KeyboardInterrupt:
        say(f"task {task.task_id} goes on: `stepwell task` shows it, `stepwell cancel` ends it")
        return Exit.INTERRUPTED
    return _told(system, ended, plan, False, as_json)


def _display(followed: Followed, plan: Plan, task: Task, *, stderr: bool, quiet: bool) -> AbstractContextManager[None]:
    """A live tree on a terminal, plain lines elsewhere."""
    from stepwell.cli.live import LiveTree
    from stepwell.cli.plain import PlainLines

    if quiet:
        return nullcontext()
    screen = console(stderr)
    if screen.is_terminal:
        return LiveTree(screen, followed, plan, f"{task.workflow_id}  {task.task_id}").shown()
    return PlainLines(partial(screen.print, soft_wrap=True), followed).shown()


def _told(system: System, task: Task, plan: Plan, interrupted: bool, as_json: bool) -> Exit:
    if as_json:
        _print_document(system, task)
    else:
        _print_ending(system, task, plan)
    return _code(task, interrupted)


def _print_document(system: System, task: Task) -> None:
    from stepwell.cli.forms import task_form

    print_json(task_form(system, task))


def _print_ending(system: System, task: Task, plan: Plan) -> None:
    from stepwell.cli.follow import of_records
    from stepwell.cli.live import status_text
    from stepwell.cli.output import duration
    from stepwell.cli.tables import elapsed, of_steps
    from stepwell.cli.tree import lines

    screen, now = console(), system.store.now()
    screen.print(of_steps(lines(plan, of_records(system.store, task.task_id), now)))
    if outputs := system.service.outputs(task):
        screen.print(f"\noutputs {as_lines(outputs)}", soft_wrap=True)
    ending = status_text(str(task.status)).append(f" in {duration(elapsed(task, now))}", "")
    screen.print(f"\ntask {task.task_id}", ending, soft_wrap=True)
    if task.error is not None:
        place = f"{task.error.path}: " if task.error.path else ""
        screen.print(f"{place}{reason(task.error.message)}", style="red", soft_wrap=True)


def _code(task: Task, interrupted: bool) -> Exit:
    from stepwell.task import Status

    if not task.ended:
        return Exit.INTERRUPTED
    if task.status is Status.CANCELLED:
        return Exit.INTERRUPTED if interrupted else Exit.CANCELLED
    return Exit.OK if task.status is Status.COMPLETED else Exit.FAILED


def _keep_log_lines_apart() -> None:
    """Log lines of steps are shown as events of the task, not a second time by Python's logging."""
    import logging

    steps = logging.getLogger("stepwell.task")
    steps.addHandler(logging.NullHandler())
    steps.propagate = False
