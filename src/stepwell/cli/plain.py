"""A running task as plain lines, for files, pipes and logs: one line when a step begins and one when it ends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from stepwell.cli.follow import Followed, shown_path
from stepwell.cli.output import duration, reason
from stepwell.cli.tree import parts
from stepwell.cli.waits import command, wait_text
from stepwell.errors import Unavailable
from stepwell.task import Event

PAUSE = 0.1
"""Seconds between two looks."""

PART_LINES = 20
"""Lines that the items or rounds of one step may write."""

_TOLD_OF_ITEMS = frozenset({"log", "step.failed", "step.waiting"})


class PlainLines:
    """Writes what happens in one task, from a thread of its own that only reads."""

    def __init__(self, write: Callable[[str], None], followed: Followed) -> None:
        self._write, self._followed = write, followed
        self._over = threading.Event()
        self._part_lines: Counter[str] = Counter()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Write while this is in force, up to the last event."""
        writer = threading.Thread(target=self._write_on, name="stepwell-plain", daemon=True)
        writer.start()
        try:
            yield
        finally:
            self._over.set()
            writer.join()
            self._look()

    def _write_on(self) -> None:
        while not self._over.wait(PAUSE):
            self._look()

    def _look(self) -> None:
        with suppress(Unavailable):  # the store is busy: the next look tells what happened
            self._followed.update(self._tell)

    def _tell(self, event: Event) -> None:
        if event.kind == "task.waiting":
            if "message" in event.data:
                self._write(f"it waits before it is tried again{_message(event)}")
        elif event.path is not None and (text := self._text(event, event.path)):
            self._write(f"{event.path}: {text}")

    def _text(self, event: Event, path: str) -> str:
        inside = path != shown_path(path)
        if inside and (event.kind not in _TOLD_OF_ITEMS or not self._may_write(shown_path(path))):
            return ""
        if event.kind == "log":
            return f"{event.data.get('level')}{_message(event)}"
        status = event.kind.removeprefix("step.")
        if status == "waiting":
            return self._waiting(path)
        if status == "started" and self._followed.steps[shown_path(path)].waited:
            return "goes on"
        if inside or status == "retrying":
            return f"attempt {event.data.get('attempt')} failed{_message(event)}"
        return f"{' '.join(filter(None, (status, self._ending(path, status))))}{_message(event)}"

    def _waiting(self, path: str) -> str:
        """What it waits for, and the command that answers; nothing if it has come meanwhile."""
        record = self._followed.waiting.get(path)
        if record is None or record.wait is None:
            return ""
        answer = command(self._followed.task_id, record)
        return f"waiting ({wait_text(record.wait)})" + (f"; answer with: {answer}" if answer else "")

    def _ending(self, path: str, status: str) -> str:
        seen = self._followed.steps[path]
        if status == "started":
            return f"(attempt {seen.attempts})" if seen.attempts > 1 else ""
        if status == "skipped":
            return ""
        known = seen.started_at is not None and seen.ended_at is not None
        took, counts = f"in {duration(seen.seconds(0))}" if known else "", parts(seen)
        return f"{took} ({counts})" if counts else took

    def _may_write(self, path: str) -> bool:
        self._part_lines[path] += 1
        if self._part_lines[path] == PART_LINES + 1:
            self._write(f"{path}: more lines of its items are not shown here")
        return self._part_lines[path] <= PART_LINES


def _message(event: Event) -> str:
    """`: what was logged, or why it failed`, or nothing."""
    message = reason(str(event.data.get("message", "")))
    return f": {message}" if message else ""
