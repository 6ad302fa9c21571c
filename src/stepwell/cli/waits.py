"""What steps wait for, in a few words, and the command that answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from stepwell.cli.output import first_line, moment
from stepwell.task import Crew, StepRecord

SHOWN = 3
"""So many waits are shown below a tree that lives."""


def wait_text(wait: Mapping[str, Any], crew: Crew | None = None) -> str:
    """`approval: Publish?`, `event order.paid until …`, `until …`, `3/10 children done, 1 failed`."""
    due = f"until {moment(wait['due'])}" if wait.get("due") is not None else ""
    kind = wait.get("kind")
    if kind == "children":
        return _children_text(wait, crew)
    if kind == "approval":
        return " ".join(filter(None, (f"approval: {first_line(str(wait.get('message') or ''))}", due)))
    return " ".join(filter(None, (f"event {wait.get('event')}" if kind == "event" else "", due)))


def command(task_id: str, record: StepRecord) -> str:
    """How to tell the step what it waits for: `stepwell signal … release -d approved=true`; else nothing."""
    wait = record.wait or {}
    if wait.get("kind") == "approval":
        fields = [f"-d {name}=…" for name, declared in wait.get("form", {}).items() if declared.get("required")]
        data = "-d approved=true" if fields == ["-d approved=…"] else " ".join(fields)
        return f"stepwell signal {task_id} {shlex.quote(record.path)} {data}".rstrip()
    return f"stepwell signal {task_id} {shlex.quote(str(wait.get('event')))}" if wait.get("kind") == "event" else ""


def _children_text(wait: Mapping[str, Any], crew: Crew | None) -> str:
    if crew is None:
        return f"{wait.get('total') or 0:,} children"
    failed = f", {crew.failed:,} failed" if crew.failed else ""
    return f"{crew.completed:,}/{crew.total:,} children done{failed}"
