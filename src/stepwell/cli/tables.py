"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from stepwell.cli.live import SHORT_ID, status_text
from stepwell.cli.output import duration, first_line, moment, reason
from stepwell.cli.progress import progress_text
from stepwell.cli.tree import Line
from stepwell.workflow import Variable

if TYPE_CHECKING:
    from stepwell.loader import Broken, Definition
    from stepwell.task import StepRecord, Task

ROOMY = 120
"""Columns from which on ids are shown whole."""


def of_steps(tree: Sequence[Line]) -> Table:
    """How the steps of a task ended."""
    table = _table("step", "status", "attempts", "duration", "")
    table.columns[3].justify = "right"
    for line in tree:
        note = Text(line.note, "red" if line.status == "failed" else "")
        table.add_row(Text("  " * line.depth + line.label), status_text(line.status), line.attempts, line.took, note)
    return table


def of_items(records: Iterable[StepRecord], now: float) -> Table:
    """Items and rounds of the steps of a task."""
    table = _table("item", "status", "attempts", "duration", "")
    table.columns[3].justify = "right"
    for record in records:
        took = None if record.started_at is None else (record.completed_at or now) - record.started_at
        note = Text(reason(record.error.message) if record.error else "", "red")
        table.add_row(record.path, status_text(str(record.status)), str(record.attempts), duration(took), note)
    return table


def of_tasks(tasks: Iterable[Task], now: float, width: int) -> Table:
    """A list of tasks; of their ids the end only, which tells them apart, where the width is short."""
    begin = -SHORT_ID if width < ROOMY else 0
    table = _table("task", "workflow", "status", "created", "duration", "error")
    for task in tasks:
        table.add_row(
            task.task_id[begin:],
            task.workflow_id,
            status_text(str(task.status)),
            moment(task.created_at),
            duration(elapsed(task, now)),
            Text(reason(task.error.message) if task.error else "", "red"),
        )
    return table


def of_task(task: Task, now: float) -> Table:
    """What a task is, as names and values."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    rows: list[tuple[str, str | Text | None]] = [
        ("task", task.task_id),
        ("workflow", task.workflow_id),
        ("parent", f"{task.parent} ({_place(task)})" if task.parent else None),
        ("status", status_text(str(task.status))),
        ("created", moment(task.created_at)),
        ("started", moment(task.started_at)),
        ("completed", moment(task.completed_at)),
        ("due", moment(task.wake_at)),
        ("duration", duration(elapsed(task, now))),
        ("progress", "" if task.status == "completed" else progress_text(task.progress)),
        ("retries", f"{task.retry_count} of {task.max_retries}" if task.max_retries else None),
        ("queue", task.queue),
        ("external id", task.external_id),
        ("labels", ", ".join(f"{name}={value}" for name, value in task.labels.items())),
        ("error", Text(reason(task.error.message), "red") if task.error else None),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return table


def _place(task: Task) -> str:
    """The step, and the item, of its parent that a child runs."""
    return f"{task.place}" if task.index is None else f"{task.place}, {task.index}"


def of_workflows(found: Iterable[Definition | Broken]) -> Table:
    """The workflows of a folder, with the number of problems of those that do not load."""
    from stepwell.loader import Broken

    table = _table("id", "name", "file", "problems")
    for one in found:
        if isinstance(one, Broken):
            table.add_row(one.workflow_id, "", one.file, Text(str(len(one.error.problems)), "red"))
        else:
            table.add_row(one.workflow_id, Text(first_line(one.workflow.name or "")), one.file, "")
    return table


def of_variables(declared: dict[str, Variable]) -> Table:
    """The variables that a workflow takes."""
    table = _table("variable", "type", "default", "description")
    for name, variable in declared.items():
        default = "required" if variable.required else _shown(variable.default)
        table.add_row(name, _type(variable), default, Text(first_line(variable.description)))
    return table


def elapsed(task: Task, now: float) -> float | None:
    """Seconds from its start to its end, or to now."""
    return None if task.started_at is None else (task.completed_at or now) - task.started_at


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _type(variable: Variable) -> str:
    return f"list of {_type(variable.items)}" if variable.items else variable.type


def _shown(value: object) -> Text:
    from stepwell.values import encode

    return Text("" if value is None else first_line(encode(value), 60))
