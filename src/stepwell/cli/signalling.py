"""`stepwell signal`: tells a task what it waits for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepwell.cli.exits import Exit, told
from stepwell.cli.options import AsJson, TaskName
from stepwell.cli.output import console, print_json

if TYPE_CHECKING:
    from stepwell.workflow import Variable

SIGNAL_HELP = f"""Tell a task what it waits for: answer an approval, or send it an event.

NAME is the path or the id of the approval's step, or the name of the event. The answer to an approval is read by the
types of its form, and asks for no API key: whoever reaches the store may answer. What comes before the task waits is
kept. A server or worker goes on with the task, or `stepwell retry`.

    stepwell signal 9f31c2ab release -d approved=true -d comment=fine

    stepwell signal 9f31c2ab order.paid --data '{{"order": 17}}' --key payment-17

{told(Exit.OK, Exit.INVALID, Exit.NOT_FOUND, Exit.CONFLICT)}"""


def signal(
    task_id: TaskName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The path or id of a step, or the name of an event.")],
    field: Annotated[
        list[str] | None, typer.Option("-d", "--field", metavar="KEY=VALUE", help="A field of it; may be repeated.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="JSON", help="All of it as JSON; @FILE is that file.")] = None,
    key: Annotated[str | None, typer.Option(help="An event with the same key again changes nothing.")] = None,
    as_json: AsJson = False,
) -> None:
    from stepwell.cli.lookup import find_task, opened_system

    with opened_system() as system:
        task = find_task(system.service, task_id)
        payload = _payload(system.service.form(task, name) or {}, field or (), data)
        found = system.service.signal(task.task_id, name, payload, key=key)
    if as_json:
        document = {"task_id": task.task_id, "name": found.name, "accepted": found.accepted}
        print_json({**document, "status": str(found.task.status)})
    else:
        what = "was told" if found.accepted else "had been told already"
        console().print(f"task {task.task_id} {what} {found.name}, and is {found.task.status}", soft_wrap=True)


def _payload(form: Mapping[str, Variable], fields: Sequence[str], data: str | None) -> Any:
    """What the options say; an empty object if nothing was."""
    from stepwell.cli.inputs import pairs
    from stepwell.errors import FieldProblem, InvalidInput

    if fields and data is not None:
        raise InvalidInput([FieldProblem("--data", "holds all of it: leave out -d")])
    if data is None:
        return {name: _value(form, name, text) for name, text in pairs("-d", fields).items()}
    return _from_json(data)


def _value(form: Mapping[str, Variable], name: str, text: str) -> Any:
    """Read by the type that the form declares; JSON or plain text where nothing is declared."""
    from stepwell import variables
    from stepwell.workflow import Variable

    return variables.from_text({name: Variable.model_validate({"type": "any"}), **form}, name, text)


def _from_json(data: str) -> Any:
    from pathlib import Path

    from stepwell.cli.inputs import read_text
    from stepwell.errors import FieldProblem, InvalidInput

    text = read_text(Path(data[1:])) if data.startswith("@") else data
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput([FieldProblem("--data", f"is no JSON: {error}")]) from error
