"""Runs one task, and its children, in the main thread, so that `breakpoint()` works there; Ctrl-C cancels it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from stepwell.cli.exits import Exit
from stepwell.cli.family import Family
from stepwell.cli.output import say
from stepwell.errors import Conflict, StepwellError
from stepwell.task import Status, Task
from stepwell.wiring import System

POLL = 0.2
"""Seconds between two looks at a task that another process runs."""

PATIENCE = 2.0
"""Seconds that code which does not yield is waited for, once its task is over."""

STOPPING = (signal.SIGINT, signal.SIGTERM)
OVER = 0
"""What stands in the stream of signals when there is nothing more to listen for."""


class Execution:
    """One task, from queued to its end, or until it is left waiting.

    `late` is called if the task ended but its code holds the main thread.
    """

    def __init__(self, system: System, task_id: str, late: Callable[[Task], None]) -> None:
        self.interrupted = False
        self._system, self._task_id, self._late = system, task_id, late
        self._family, self._child, self._left = Family(system, task_id), "", False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._main = threading.get_ident()
        self._timer: threading.Timer | None = None

    def run(self) -> Task:
        """Run it to its end, over its own retries, and answer it; if another process took it, wait for that one.

        Ctrl-C while it only waits for something leaves it waiting.
        """
        with self._listening():
            while not (task := self._system.store.get(self._task_id)).ended and not self._left:
                if task.status is Status.QUEUED:
                    self._system.engine.run(self._task_id, self._over)
                elif child := self._family.next() if task.status is Status.WAITING else None:
                    self._run_child(child)
                else:
                    self._pause(task)
        if self._timer is not None:
            self._timer.cancel()
        return task

    def _run_child(self, task_id: str) -> None:
        self._child = task_id
        self._system.engine.run(task_id, lambda task: self._wait(POLL) if task is None else None)
        self._child = ""

    def _over(self, task: Task | None) -> None:
        if task is None:  # another process was faster, or the store did not answer
            self._wait(POLL)
        elif threading.get_ident() != self._main and task.ended:
            self._timer = threading.Timer(PATIENCE, self._late, [task])
            self._timer.daemon = True
            self._timer.start()

    def _pause(self, task: Task) -> None:
        """Wait until a suspended task is due, or for a while: it may be told something, or run elsewhere."""
        left = None if task.wake_at is None else max(0.01, task.wake_at - self._system.store.now())
        self._wait(POLL if left is None else min(POLL, left))
        if left is not None and left <= POLL:
            self._system.store.wake()

    def _wait(self, seconds: float) -> None:
        try:
            self._bell.get(timeout=min(seconds, threading.TIMEOUT_MAX))
        except Empty:
            return

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Have a thread hear of Ctrl-C and SIGTERM through a socket: the main thread may be deep in user code.

        The engine's SIGURG wakes the main thread from blocking calls.
        """
        numbers = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        numbers += [] if sys.platform == "win32" else [signal.SIGURG]
        reader, writer = socket.socketpair()  # Windows takes no pipe here
        writer.setblocking(False)
        listener = threading.Thread(target=self._listen, args=[reader], name="stepwell-signals", daemon=True)
        listener.start()
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, _noted) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            writer.send(bytes([OVER]))
            listener.join()
            reader.close()
            writer.close()

    def _listen(self, reader: socket.socket) -> None:
        while (number := reader.recv(1)[0]) != OVER:
            if number not in STOPPING:
                continue
            if self.interrupted:
                leave(Exit.INTERRUPTED)
            self.interrupted = True
            threading.Thread(target=self._interrupt, name="stepwell-cancel", daemon=True).start()

    def _interrupt(self) -> None:
        try:
            task = self._system.store.get(self._task_id)
            waits = task.status is Status.WAITING and not self._child and self._system.service.waits(task)
        except StepwellError:
            waits = False
        if waits:
            self._left = True
        else:
            self._cancel()
        self._bell.put(None)

    def _cancel(self) -> None:
        say("cancelling: what has to be undone is run; press Ctrl-C again to leave at once")
        try:
            self._system.service.cancel(self._task_id, force=True)
            self._system.engine.cancel(self._child)
        except Conflict:  # it has ended meanwhile
            pass
        except StepwellError as error:
            say(f"it could not be cancelled: {error}")


def leave(code: int) -> None:
    """End the process now, whatever its threads do, with the cursor of the terminal visible again."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    os._exit(code)


def _noted(*_: object) -> None:
    """Nothing to do: that a handler is there writes to the socket, ends a blocking call, and lets an exception that is
    due be raised."""
