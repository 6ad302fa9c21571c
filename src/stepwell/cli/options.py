"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A task's id, or at least its first 8 characters.")]
