"""Forks the children of a worker, so that none of them outlives it."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15

QUIET = (signal.SIGINT, signal.SIGTERM, signal.SIGURG)
"""Ctrl-C reaches the whole group of processes, but only the parent decides what it means; SIGURG wakes the main thread
of a work-horse from blocking calls."""


def fork(title: str, run: Callable[[], int], *, outlives: bool = False) -> int:
    """Start a child that runs this and ends with the exit code that it answers; gives the child's process id.

    Unless it `outlives` the parent for what is left to be done, the kernel kills it with the parent (on Linux).
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    signals = {*QUIET, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # until the child has handlers of its own
    try:
        child = os.fork()
        if child == 0:
            _run(title, 0 if outlives else parent, run)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    return child


def leave(code: int) -> NoReturn:
    """End this child now, whatever its threads do; connections that the parent might share are not closed."""
    with suppress(OSError, ValueError):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run(title: str, parent: int, run: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        _set_title(title)
        if parent:
            die_with(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in QUIET:
            signal.signal(number, _nothing)
        os.register_at_fork(after_in_child=_listen_again)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*QUIET, signal.SIGCHLD})
        random.seed()
        code = run()
    except BaseException:
        log.exception("%s broke", title)
    finally:
        leave(code)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


def _set_title(title: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, title.encode(), 0, 0, 0)


def _listen_again() -> None:
    """What a step forks, as `multiprocessing` does, can be ended by signals as usual."""
    for number in QUIET:
        signal.signal(number, signal.SIG_DFL)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Not `SIG_IGN`, which programs that are started from here would inherit."""
