"""The programs of `stepwell dev` together: begun, begun anew, and stopped in order, by one thread."""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from stepwell.cli.dev.changes import Changes
from stepwell.cli.dev.child import Child
from stepwell.cli.dev.redis_server import PrivateRedis
from stepwell.cli.exits import Exit
from stepwell.errors import Unavailable

TICK = 0.2
"""Seconds between two looks at signals and at ends of programs."""

LOOK = 0.5
"""Seconds between two looks at the files."""

BEGIN_SECONDS = 60.0
"""How long Redis may take to read its data."""

APART = 0.5
"""Seconds between two signals to a program: quicker ones count as one."""

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
"""What programs are sent first, second, third: drain, hand back at once, end."""

Write = Callable[[str, str], None]


class Session:
    """Runs until SIGINT or SIGTERM; a second signal does not wait for steps."""

    def __init__(
        self,
        folder: Path,
        programs: Mapping[str, Sequence[str]],
        env: Mapping[str, str],
        redis: PrivateRedis | None,
        write: Write,
    ) -> None:
        """`programs` are commands by name; they begin anew when a file in `folder` changes, Redis does not."""
        self._programs, self._env, self._redis, self._write = programs, env, redis, write
        self._changes = Changes(folder)
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, Child] = {}
        self._signals = 0

    def run(self) -> Exit:
        """Begin everything, keep it running, stop it; what the process ends with."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._told)
        try:
            if self._redis is not None:
                self._begin_redis(self._redis)
            self._begin()
            return self._watch()
        finally:
            self._stop(self._programs)
            self._stop(["redis"])
            self._selector.close()

    def _told(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _begin_redis(self, redis: PrivateRedis) -> None:
        self._start("redis", redis.command())
        deadline = time.monotonic() + BEGIN_SECONDS
        while not self._signals and not redis.answers():
            self._show()
            if self._children["redis"].code is not None or time.monotonic() > deadline:
                raise Unavailable(f"the private Redis does not begin: see {redis.log}")

    def _begin(self) -> None:
        for name, command in self._programs.items():
            self._start(name, command)

    def _start(self, name: str, command: Sequence[str]) -> None:
        child = Child(name, command, self._env, self._write)
        self._children[name] = child
        self._selector.register(child, selectors.EVENT_READ)

    def _watch(self) -> Exit:
        looked = time.monotonic()
        while not self._signals:
            self._show()
            if self._has_invalid_settings():
                return Exit.INVALID
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                self._follow(self._changes.settled())
        self._write("dev", "stopping; Ctrl-C again does not wait for running steps")
        return Exit.OK

    def _has_invalid_settings(self) -> bool:
        """Look after programs that ended by themselves: one whose settings are wrong ends so each time."""
        codes = {name: self._close(name) for name, child in list(self._children.items()) if child.code is not None}
        if self._redis is not None and "redis" in codes:
            raise Unavailable(f"the private Redis ended with exit code {codes['redis']}: see {self._redis.log}")
        for name, code in codes.items():
            after = "everything stops" if code == Exit.INVALID else "it begins anew when a file changes"
            self._write("dev", f"{name} ended with exit code {code}: {after}")
        return Exit.INVALID in codes.values()

    def _follow(self, changed: list[str]) -> None:
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            self._write("dev", f"{changed[0]}{more} changed: beginning anew")
            self._stop(self._programs)
            if not self._signals:
                self._begin()

    def _show(self) -> None:
        """Write what has come, or wait a little for it."""
        for key, _ in self._selector.select(TICK):
            child = key.fileobj
            assert isinstance(child, Child)
            if not child.read():
                self._selector.unregister(child)

    def _stop(self, names: Iterable[str]) -> None:
        """Stop them together, and wait; each further signal to us makes them hurry."""
        stopped = [self._children[name] for name in names if name in self._children]
        before, sent, last = self._signals, 0, -APART
        while any(child.code is None for child in stopped):
            wanted = min(1 + self._signals - before, len(STOPS))
            if sent < wanted and time.monotonic() - last >= APART:
                for child in stopped:
                    child.send(STOPS[sent])
                sent, last = sent + 1, time.monotonic()
            self._show()
        for child in stopped:
            self._close(child.name)

    def _close(self, name: str) -> int | None:
        child = self._children.pop(name)
        if child.fileno() in self._selector.get_map():
            self._selector.unregister(child)
        child.close()
        return child.code
