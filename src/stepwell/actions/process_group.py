"""A process and all that it starts: output is read as it comes, and when it is over nothing of it is left."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from stepwell.actions.excerpt import Mask
from stepwell.actions.orphans import guard
from stepwell.actions.process_output import LineLog, Stream
from stepwell.errors import TaskCancelled

POLL = 0.05
"""Seconds between two looks at whether the process should end."""

LINGER = 2.0
"""Seconds that what it left in the background may go on writing, like `> >(tee log)`, after it has ended."""

GRACE = 2.5
"""Seconds between SIGTERM and SIGKILL: less than the engine gives an interrupted action to end."""

CHUNK = 64 * 1024
MAX_LEFTOVER_READS = 32
"""After the end so many chunks are read at most: a process that left the group may write for ever."""


class ProcessGroup(threading.Thread):
    """Runs a program in a process group of its own and waits for it, on a thread of its own.

    The thread is what makes the end reliable: interrupts are raised into the thread of the action at any line,
    also in a `finally`, and would break off what ends the group; they are never raised into this one.
    A process that should outlive the step has to leave the group (`setsid`).
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path, mask: Mask) -> None:
        super().__init__(name="stepwell-process", daemon=True)
        self._command, self._env, self._cwd = command, env, cwd
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        log = LineLog(self._lines.put)
        self.stdout, self.stderr = Stream(log, mask), Stream(log, mask)
        self._should_end, self._over = threading.Event(), threading.Event()
        self._exit_code: int | None = None
        self._error: OSError | None = None

    def wait(self, log: Callable[[str], object], is_cancelled: Callable[[], bool]) -> int:
        """Start it, log its lines as they come, and answer its exit code (negative: the signal that ended it).

        Raises `OSError` if it cannot be started, and `TaskCancelled` if it was ended because `is_cancelled`; any
        exception that is raised into the waiting thread ends the group as well.
        """
        try:
            self.start()
            self._log_lines(log, is_cancelled)
        finally:
            self._should_end.set()
            self._over.wait(GRACE + POLL)
        if self._error is not None:
            raise self._error
        if self._exit_code is None:
            raise TaskCancelled("the process was ended, because its step was interrupted")
        return self._exit_code

    def run(self) -> None:
        """What the thread does; not to be called."""
        try:
            self._run()
        except OSError as error:
            self._error = error
        finally:
            self._over.set()
            self._lines.put(None)

    def _log_lines(self, log: Callable[[str], object], is_cancelled: Callable[[], bool]) -> None:
        while True:
            with suppress(Empty):
                if (line := self._lines.get(timeout=POLL)) is None:
                    return
                log(line)
            if is_cancelled():
                self._should_end.set()

    def _run(self) -> None:
        with (
            subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            ) as process,
            selectors.DefaultSelector() as selector,
        ):
            guard.watch(process.pid)
            for pipe, stream in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
                if pipe is not None:
                    selector.register(pipe, selectors.EVENT_READ, stream)
            try:
                self._watch(process, selector)
            finally:
                _end(process, selector)
                guard.forget(process.pid)

    def _watch(self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
        """Until the process has ended and its output with it, or it should end, or what it left lingers too long."""
        deadline = float("inf")
        while process.poll() is None or selector.get_map():
            if self._should_end.is_set():
                return
            if process.returncode is not None:
                deadline = min(deadline, time.monotonic() + LINGER)
            if time.monotonic() > deadline:
                break
            _read_or_wait(process, selector)
        self._exit_code = process.returncode


def _end(process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
    """End what is left of the group: politely if it was interrupted, and then for good."""
    deadline = time.monotonic() + (GRACE if process.poll() is None else 0.0)
    _send(process, signal.SIGTERM)
    while _is_alive(process) and time.monotonic() < deadline:
        _read_or_wait(process, selector)
    _send(process, signal.SIGKILL)
    process.wait()
    for _ in range(MAX_LEFTOVER_READS):
        _read(selector, 0)
    for key in selector.get_map().values():
        key.data.close()


def _send(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the whole group; False if none of it is left (macOS says so by EPERM)."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None or _send(process, 0)


def _read_or_wait(process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
    """Pass on what can be read; wait for it, or for the end of the process, for `POLL` seconds at most."""
    if selector.get_map():
        _read(selector, POLL)
    elif process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    else:
        time.sleep(POLL)


def _read(selector: selectors.BaseSelector, timeout: float) -> None:
    for key, _ in selector.select(timeout):
        if chunk := os.read(key.fd, CHUNK):
            key.data.feed(chunk)
        else:
            selector.unregister(key.fileobj)
            key.data.close()
