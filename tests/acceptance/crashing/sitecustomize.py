"""Kills a process of ours with SIGKILL at an exact place. Python imports this where its folder is on PYTHONPATH.

`CRASH_AT` is `module:Class.method before|after number`: right before or after so many calls of the method in one
process. `CRASH_ONCE` names a file that is made then; while it is there nobody is killed.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from typing import Any


def crash_once() -> None:
    """End this process, unless one was ended already."""
    try:
        os.close(os.open(os.environ["CRASH_ONCE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(place: str, when: str, number: int) -> None:
    """Have calls of a method counted; those that answer None are none."""
    module, _, path = place.partition(":")
    owner_name, _, name = path.partition(".")
    owner = getattr(importlib.import_module(module), owner_name)
    method: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal calls
        if when == "before":
            calls += 1
            if calls == number:
                crash_once()
            return method(*args, **more)
        answer = method(*args, **more)
        if answer is not None:
            calls += 1
            if calls == number:
                crash_once()
        return answer

    setattr(owner, name, counted)


if "CRASH_AT" in os.environ:
    place, when, number = os.environ["CRASH_AT"].split()
    wrap(place, when, int(number))
