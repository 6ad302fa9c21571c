"""Threads for user code: reused, daemonic, and interruptible from outside."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from queue import Empty, SimpleQueue

from stepwell.errors import Interrupted

log = logging.getLogger(__name__)

DEBUGGERS = ("pdb", "bdb", "_pydevd_bundle", "pydevd")
"""Modules whose frames on a thread's stack show that a person is looking at it."""


IDLE = 10.0
"""Seconds after which a thread that has nothing to do ends."""


class Threads:
    """Runs functions on daemon threads; an idle thread is used again, so that a hand-over costs microseconds.

    Not `concurrent.futures`: its threads are joined when the interpreter exits, so that one stuck call in user
    code would keep the process alive for ever.
    """

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Callable[[], None]]] = []
        self._lock = threading.Lock()

    def run(self, function: Callable[[], None]) -> None:
        """Run it on some thread, soon; it must not raise."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="stepwell-step", daemon=True).start()
        inbox.put(function)

    def _serve(self, inbox: SimpleQueue[Callable[[], None]]) -> None:
        while function := self._next(inbox):
            function()
            with self._lock:
                self._idle.append(inbox)

    def _next(self, inbox: SimpleQueue[Callable[[], None]]) -> Callable[[], None] | None:
        """What is to be run next; None if nothing came for a while, and nothing will."""
        try:
            return inbox.get(timeout=IDLE)
        except Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
            return inbox.get()  # somebody has just taken this thread


@cache
def shared_loop() -> asyncio.AbstractEventLoop:
    """The event loop on which every async action of this process runs; its daemon thread starts with the first use."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run_for_ever, args=(loop,), name="stepwell-loop", daemon=True).start()
    return loop


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    """A `sys.exit()` in some task of an action ends `run_forever`, and must not end all other actions with it."""
    while True:
        try:
            loop.run_forever()
        except BaseException:
            log.exception("an async action tried to end the process")


def raise_in(thread: int, error: type[Interrupted]) -> None:
    """Raise an exception in another thread, at its next Python instruction (CPython's `PyThreadState_SetAsyncExc`).

    The main thread is also woken by `SIGURG` from a blocking call like `time.sleep`, if the program handles that
    signal; by default it is ignored.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
    if sys.platform != "win32" and thread == threading.main_thread().ident:
        signal.pthread_kill(thread, signal.SIGURG)


class _Absorbed(Interrupted):
    """Put in the place of an interrupt that is no longer wanted."""


def forget_raised() -> None:
    """Take back what `raise_in` raised into this thread, if it has not arrived yet.

    A pending exception can be replaced, but not simply be cleared: the interpreter would go on looking for it at
    every instruction (and for ever, under a tracer). So another one takes its place, and is caught here.
    """
    try:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(_Absorbed))
        while True:
            time.sleep(0)
    except _Absorbed:
        return


def is_debugged(thread: int) -> bool:
    """Whether a debugger holds this thread, so that its time limit should pause."""
    return any(name.split(".")[0] in DEBUGGERS for name in _modules(thread))


def _modules(thread: int) -> Iterator[str]:
    frame = sys._current_frames().get(thread)
    while frame is not None:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back
