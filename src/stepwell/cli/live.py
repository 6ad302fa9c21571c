"""The live tree of a task that runs in this terminal, drawn by a thread of its own that only reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stepwell.cli import terminal
from stepwell.cli.follow import Followed
from stepwell.cli.progress import Reported
from stepwell.cli.tree import Line, cropped, lines
from stepwell.cli.waits import SHOWN, command
from stepwell.errors import Unavailable

if TYPE_CHECKING:
    from stepwell.plan import Plan

SHORT_ID = 8
"""Characters of an id that tell tasks apart."""

PAUSE = 0.15
"""Seconds between two drawings."""

LOOKS = {
    "pending": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "retrying": ("↻", "yellow"),
    "waiting": ("◷", "yellow"),
    "completed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": ("⊘", "dim"),
    "cancelled": ("⊗", "magenta"),
}
"""The icon and the colour of each status; the word stands beside them."""


def status_text(status: str) -> Text:
    """A status as icon, word and colour."""
    icon, style = LOOKS.get(status, ("", ""))
    return Text(f"{icon} {status}".strip(), style)


class LiveTree:
    """The display of one task. It leaves the terminal alone while a debugger or `input()` has it."""

    def __init__(self, console: Console, followed: Followed, plan: Plan, title: str) -> None:
        self._console, self._followed, self._plan, self._title = console, followed, plan, title
        self._reported = Reported()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._asking = 0
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw while this is in force, and leave nothing behind."""
        drawer = threading.Thread(target=self._draw_on, name="stepwell-live", daemon=True)
        with terminal.lent(self.suspend, self._held):
            drawer.start()
            try:
                yield
            finally:
                self._over.set()
                drawer.join()
                self.suspend()

    def suspend(self) -> None:
        """Take the tree off the screen; the next drawing brings it back."""
        with self._lock:
            self._stop()

    def _held(self, asking: bool) -> None:
        with self._lock:
            self._asking += 1 if asking else -1
            self._stop()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _draw_on(self) -> None:
        while not self._over.wait(PAUSE):
            with self._lock, suppress(Unavailable):  # the store is busy: the next drawing is up to date
                self._draw()

    def _draw(self) -> None:
        if self._asking or terminal.debugged():
            self._stop()
            return
        self._followed.update()
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._tree(), refresh=True)

    def _tree(self) -> Group:
        now = self._followed.now()
        tree = lines(self._plan, self._followed.steps, now)
        of_task, tree = self._reported.put(self._followed.progress(), tree)
        title = Text(self._title, "bold", no_wrap=True, overflow="ellipsis").append(
            f"  {of_task}" if of_task else "", ""
        )
        asked = self._asked()
        return Group(title, table_of(cropped(tree, max(5, self._console.height - 3 - len(asked)))), *asked)

    def _asked(self) -> list[Text]:
        """The commands that answer what the task waits for, with the end of its id, so that they fit into a line."""
        records, task = self._followed.waiting.values(), self._followed.task_id[-SHORT_ID:]
        commands = filter(None, (command(task, record) for record in records))
        return [Text(f"  answer with: {one}", "yellow") for one in islice(commands, SHOWN)]


def table_of(tree: list[Line]) -> Table:
    """The lines of a tree under each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for line in tree:
        style = "dim" if line.status == "pending" else ""
        name = Text("  " * (line.depth + 1) + line.label, style)
        table.add_row(name, status_text(line.status), line.attempts, line.took, Text(line.note, style))
    return table
