"""Ends the process groups of `run:` steps when our own process dies without a chance to end them itself.

Without this a script would go on after a SIGKILL of its worker, beside its own repetition. A tiny shell holds the other
end of a pipe: it is told which groups there are, and the kernel closes the pipe however our process ends.
(Linux's PDEATHSIG would reach only the first process of a group.)
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock

SHELL = "/bin/sh"
SCRIPT = """
while read -r sign group; do
    others=
    for one in $groups; do [ "$one" = "-$group" ] || others="$others $one"; done
    groups=$others
    [ "$sign" = - ] || groups="$groups -$group"
done
[ -z "$groups" ] || kill -s KILL -- $groups
"""


class Guard:
    """The shell of one process; it is started when the first group is."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner, self._pipe = 0, -1

    def watch(self, group: int) -> None:
        """End this group when our process has died."""
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """The group has ended."""
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        with self._lock, suppress(OSError):  # no shell, or somebody ended it: steps run as well without
            if self._owner != os.getpid():  # a forked process needs its own
                self._owner, self._pipe = os.getpid(), -1
                self._pipe = _start()
            os.write(self._pipe, line.encode())


def _start() -> int:
    """Start the shell, in a session of its own; gives the end of the pipe to write to."""
    reading, writing = os.pipe()
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    actions = [(os.POSIX_SPAWN_DUP2, reading, 0), *silent]
    try:
        os.posix_spawn(SHELL, ["sh", "-c", SCRIPT], {}, file_actions=actions, setsid=True)
    except OSError:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return writing


guard = Guard()
"""That of this process."""
