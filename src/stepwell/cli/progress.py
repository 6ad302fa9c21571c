"""What actions report while they run, in a few words, and which step it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stepwell.cli.output import first_line
from stepwell.cli.tree import Line


def progress_text(progress: Mapping[str, Any] | None) -> str:
    """`45% · loading · row 450 of 1,000`, as far as it was reported; nothing if nothing was."""
    told = progress or {}
    percent = told.get("progress_percent")
    named = (told.get(name) for name in ("stage", "message", "filename"))
    parts = [f"{percent:.0f}%" if isinstance(percent, int | float) else "", *(str(value or "") for value in named)]
    return first_line(" · ".join(filter(None, parts)))


class Reported:
    """The progress of a task, which its record keeps as a whole: it is of the step that alone ran when it came."""

    def __init__(self) -> None:
        self._last: Mapping[str, Any] | None = None
        self._path: str | None = None

    def put(self, progress: Mapping[str, Any] | None, tree: Sequence[Line]) -> tuple[str, list[Line]]:
        """What stands in the title, and the tree with it at its step while that runs."""
        running = _innermost_running(tree)
        if progress != self._last:
            self._last, self._path = progress, running[0] if len(running) == 1 else None
        text = progress_text(progress)
        if self._path not in running:
            return text, list(tree)
        return "", [_noted(line, text) if line.path == self._path else line for line in tree]


def _innermost_running(tree: Sequence[Line]) -> list[str]:
    running = [line.path for line in tree if line.status == "running"]
    return [path for path in running if not any(other.startswith(f"{path}/") for other in running)]


def _noted(line: Line, text: str) -> Line:
    return replace(line, note="  ".join(filter(None, (text, line.note))))
