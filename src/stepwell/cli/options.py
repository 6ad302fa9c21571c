"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="A task's id, its last characters (4 or more), or `last` for the newest.")
]
