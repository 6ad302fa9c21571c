"""The processes of a worker, to be killed and stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and all below it, from the top."""
    return [pid, *(below for child in children(pid) for below in tree(child))]


def children(pid: int) -> list[int]:
    """The processes that it started, as far as they live."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def parent(pid: int) -> int:
    """The process that started it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def title(pid: int) -> str:
    """The name under which `ps` shows it."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def horses(pid: int) -> list[int]:
    """The work-horses of the worker with this process id."""
    return [child for child in children(pid) if title(child) == "stepwell-horse"]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send all of them a signal; one may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pids: Sequence[int]) -> None:
    """Kill all of them at once: none has time to notice that another is gone."""
    send(pids, signal.SIGSTOP)
    send(pids, signal.SIGKILL)
