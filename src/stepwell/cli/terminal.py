"""Who has the terminal: the display, or a person in a debugger or at a prompt of an action."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

DEBUGGERS = ("bdb", "pdb")


def debugged() -> bool:
    """Whether a debugger of Python holds some thread, or goes through its code step by step."""
    bdb = sys.modules.get("bdb")
    return bdb is not None and any(_is_traced(frame, bdb.Bdb) for frame in sys._current_frames().values())


def _is_traced(frame: FrameType, debugger: type[Any]) -> bool:
    """Looks at all frames but the outermost, which a debugger goes on to trace when it was told to continue."""
    here: FrameType | None = frame
    while here is not None and here.f_back is not None:
        if here.f_globals.get("__name__") in DEBUGGERS:
            return True
        if isinstance(getattr(here.f_trace, "__self__", None), debugger):
            return True
        here = here.f_back
    return False


@contextmanager
def lent(suspend: Callable[[], None], held: Callable[[bool], None]) -> Iterator[None]:
    """While this is in force, `breakpoint()` calls `suspend` first, and `held` tells when `input()` begins and ends.

    The debugger leaves Ctrl-C to the program. A debugger that `PYTHONBREAKPOINT` names is started as ever.
    """

    def debug(*_: object, **__: object) -> None:
        import pdb

        suspend()
        pdb.Pdb(nosigint=True).set_trace(sys._getframe(1))

    def ask(prompt: object = "", /) -> str:
        held(True)
        try:
            return asked(prompt)
        finally:
            held(False)

    asked, hook = builtins.input, sys.breakpointhook
    builtins.input = ask
    if not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = debug
    try:
        yield
    finally:
        builtins.input, sys.breakpointhook = asked, hook
